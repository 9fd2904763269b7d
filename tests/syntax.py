"""The syntax trees of sources."""

from __future__ import annotations

import ast
import gc


def syntax_tree(source: str) -> ast.Module:
    """As `ast.parse`, which CPython before 3.11.8 ends with a SystemError at times.

    It does if a garbage collection in it runs code that parses something else
    (https://github.com/python/cpython/issues/106905). So there is none.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if enabled:
            gc.enable()
