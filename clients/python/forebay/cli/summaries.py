"""The summary of each command for `forebay --help`, without importing the command.

Importing all commands takes most of a second; reading their docstrings takes some milliseconds.
"""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path


def docstring_of(point: EntryPoint) -> str | None:
    """The docstring of the entry point's function, read from its source file.

    None without such a file, function or docstring: then only an import shows the summary.
    """
    try:
        spec = find_spec(point.module)
    except ImportError:
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    try:
        module = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == point.attr:
            text = ast.get_docstring(node, clean=False)
            return cleandoc(text) if text else None
    return None
