"""Mutations of Python, one syntax node at a time."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from tests.mutants.mutant import Edit

_COMPARED = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_CALCULATED = {  # not `|`, which mostly joins types
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
}


def python_edits(source: str) -> Iterator[Edit]:
    """All edits; each leaves the syntax valid."""
    yield from _PythonEdits(source).of(ast.parse(source))


class _PythonEdits:
    def __init__(self, source: str) -> None:
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._lines = [line.encode() for line in source.splitlines(keepends=True)]

    def of(self, node: ast.AST) -> Iterator[Edit]:
        """The edits of a node and of all within it, but for annotations, decorators and f-strings.

        (The positions of what is in an f-string are wrong before Python 3.12.)
        """
        yield from self._of_itself(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                    yield from self.of(child)

    def _of_itself(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for op, before, after in zip(ops, [left, *comparators], comparators, strict=False):
                    yield from self._operator(before, after, _COMPARED[type(op)])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _CALCULATED:
                yield from self._operator(left, right, _CALCULATED[type(op)])
            case ast.AugAssign(target=target, op=op, value=value) if type(op) in _CALCULATED:
                old, new = _CALCULATED[type(op)]
                yield from self._operator(target, value, (f"{old}=", f"{new}="))
            case ast.BoolOp(op=op, values=values):
                change = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                for before, after in pairwise(values):
                    yield from self._operator(before, after, change)
            case ast.UnaryOp(op=ast.Not()):
                yield Edit(self._start(node), self._start(node) + len("not"), "")
            case ast.UnaryOp(op=ast.USub()):
                yield Edit(self._start(node), self._start(node) + len("-"), "")
            case ast.If(test=test) | ast.IfExp(test=test):
                yield from self._negated(test)
            case ast.comprehension(ifs=ifs):
                for test in ifs:
                    yield from self._negated(test)
            case ast.Constant(value=value):
                yield from self._constant(node, value)
            case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
                yield self._replaced(value, "None")
        if _may_be_removed(node):
            yield self._replaced(node, "pass")

    def _operator(self, before: ast.AST, after: ast.AST, change: tuple[str, str]) -> Iterator[Edit]:
        old, new = change
        start, end = self._end(before), self._start(after)
        pattern = rf"\b{old}\b".replace(" ", r"\s+") if old[0].isalpha() else re.escape(old)
        found = re.search(pattern, self._source[start:end])
        if found:
            yield Edit(start + found.start(), start + found.end(), new)

    def _negated(self, test: ast.expr) -> Iterator[Edit]:
        yield self._replaced(test, f"not ({self._text(test)})")

    def _constant(self, node: ast.Constant, value: object) -> Iterator[Edit]:
        if isinstance(value, bool):
            yield self._replaced(node, str(not value))
        elif isinstance(value, int | float):
            yield self._replaced(node, str(value + 1))
            yield self._replaced(node, str(value - 1))

    def _replaced(self, node: ast.AST, text: str) -> Edit:
        return Edit(self._start(node), self._end(node), text)

    def _text(self, node: ast.AST) -> str:
        return self._source[self._start(node) : self._end(node)]

    def _start(self, node: ast.AST) -> int:
        return self._offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def _end(self, node: ast.AST) -> int:
        return self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _offset(self, line: int, utf8_column: int) -> int:
        return self._line_starts[line - 1] + len(self._lines[line - 1][:utf8_column].decode())


def _may_be_removed(node: ast.AST) -> bool:
    """Whether the module still has all its names without the statement."""
    match node:
        case ast.Expr(value=value):
            return not isinstance(value, ast.Constant)  # a docstring
        case ast.Assign(targets=[target]):
            return not isinstance(target, ast.Name | ast.Tuple)
        case ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue():
            return True
    return False
