"""Sources are parsed also while collections of garbage run code that parses."""

from __future__ import annotations

import ast
import gc
from pathlib import Path
from typing import Any

from tests.syntax import syntax_tree


def test_a_collection_that_parses_does_not_disturb() -> None:
    collections = []

    def collected(phase: str, _: dict[str, Any]) -> None:
        if phase == "stop":
            collections.append(ast.parse("x = 1 + 2"))

    before = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(50)
    try:
        for _ in range(20):
            tree = syntax_tree(Path(__file__).read_text())
            assert ast.get_docstring(tree) == __doc__
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(collected)
    assert collections  # between the parses
    assert gc.isenabled()
