"""What a listing of calls is narrowed to. Pure.

The filter is a subset of https://google.aip.dev/160: comparisons joined by AND and
OR, of which OR binds closer, as it does there. No parentheses and no functions.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from forebay.errors import FieldViolation, InvalidRequest
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.inspection import Cursor, Listed

MOST_CHARACTERS = 4096

Test = Callable[[Listed], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<comparator>[<>!]=|[<>=])|(?P<word>[^\s"'<>=!]+))"""
)
_COMPARATORS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIMES: dict[str, Callable[[Listed], int]] = {
    "create_time": lambda one: one.cursor.created_ms,
    "begin_time": lambda one: one.begun_ms,
    "finish_time": lambda one: one.finished_ms,
}
_TEXTS: dict[str, Callable[[Listed], str]] = {
    "method": lambda one: one.method,
    "queue": lambda one: one.queue,
}
_FIELDS = ("state", "done", *_TEXTS, *_TIMES)
_NS_A_MS = 1_000_000


@dataclass(frozen=True)
class Filter:
    """Which calls are wanted: all tests hold, and none is outside of the bounds in time."""

    tests: tuple[Test, ...] = ()
    oldest_ms: int | None = None
    newest_ms: int | None = None

    def matches(self, one: Listed) -> bool:
        """Whether the call is wanted."""
        return all(test(one) for test in self.tests)

    @property
    def start(self) -> Cursor | None:
        """Where a listing starts; None for the newest call."""
        return None if self.newest_ms is None else Cursor(self.newest_ms + 1, "")


@dataclass(frozen=True)
class _Comparison:
    test: Test
    oldest_ms: int | None = None
    newest_ms: int | None = None


def parse_filter(text: str) -> Filter:
    """The filter that the text says; an empty one wants all calls. Raises InvalidRequest."""
    tokens = _Tokens(text)
    alternatives: list[list[_Comparison]] = []
    while tokens.left:
        if alternatives:
            tokens.expect("AND")
        alternatives.append([_comparison(tokens)])
        while tokens.next_is("OR"):
            tokens.expect("OR")
            alternatives[-1].append(_comparison(tokens))
    alone = [one for [one, *others] in alternatives if not others]
    return Filter(
        tuple(_any([one.test for one in comparisons]) for comparisons in alternatives),
        max((one.oldest_ms for one in alone if one.oldest_ms is not None), default=None),
        min((one.newest_ms for one in alone if one.newest_ms is not None), default=None),
    )


def _any(tests: list[Test]) -> Test:
    return lambda one: any(test(one) for test in tests)


def _comparison(tokens: _Tokens) -> _Comparison:
    field, comparator, value = tokens.word(), tokens.comparator(), tokens.value()
    if field in _TIMES:
        return _time(field, comparator, value)
    if field not in _FIELDS:
        raise bad_filter(f"{field!r} is no field to filter by; there are {', '.join(_FIELDS)}")
    if comparator not in ("=", "!="):
        raise bad_filter(f"{field} {comparator} …: only = and != are possible")
    test = _named(field, value)
    return _Comparison(test if comparator == "=" else lambda one: not test(one))


def _named(field: str, value: str) -> Test:
    if field == "state":
        name = value.removeprefix("CALL_STATE_")
        if name not in State.__members__:
            raise bad_filter(f"state {value!r}: expected one of {', '.join(State.__members__)}")
        return lambda one: one.state is State[name]
    if field == "done":
        if value not in ("true", "false"):
            raise bad_filter(f"done {value!r}: expected true or false")
        return lambda one: one.state.terminal is (value == "true")
    pattern = re.compile(".*".join(re.escape(part) for part in _ends(value)), re.DOTALL)
    return lambda one: pattern.fullmatch(_TEXTS[field](one)) is not None


def _ends(value: str) -> list[str]:
    """The text, cut where a `*` at an end stands for anything."""
    inner = value[1:] if value.startswith("*") else value
    parts = [inner[:-1], ""] if inner.endswith("*") else [inner]
    return ["", *parts] if value.startswith("*") else parts


def _time(field: str, comparator: str, value: str) -> _Comparison:
    compare = _COMPARATORS.get(comparator)
    if compare is None:
        raise bad_filter(f"{field} {comparator} …: expected one of {' '.join(_COMPARATORS)}")
    stamp = Timestamp()
    try:
        stamp.FromJsonString(value)
    except ValueError as error:
        raise bad_filter(
            f'{field} {value!r}: expected a time such as "2026-01-01T00:00:00Z"'
        ) from error
    time_ns, read = stamp.ToNanoseconds(), _TIMES[field]

    def test(one: Listed) -> bool:
        return read(one) > 0 and compare(read(one) * _NS_A_MS, time_ns)

    if field != "create_time":
        return _Comparison(test)
    return _Comparison(
        test,
        oldest_ms=max(0, time_ns // _NS_A_MS) if comparator[0] in "=>" else None,
        newest_ms=max(0, -(-time_ns // _NS_A_MS)) if comparator[0] in "=<" else None,
    )


class _Tokens:
    """The filter's words, taken one by one."""

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise bad_filter(f"it is longer than {MOST_CHARACTERS} characters")
        self.left: list[tuple[str, str]] = []
        text = text.strip()
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise bad_filter(f"can't be read from {text[place : place + 20]!r} on")
            self.left.append((match.lastgroup or "", match[match.lastgroup or 0]))
            place = match.end()

    def next_is(self, word: str) -> bool:
        """Whether this word comes next."""
        return self.left[:1] == [("word", word)]

    def expect(self, word: str) -> None:
        """Takes the word."""
        kind, text = self._take(f"{word}, then a comparison")
        if (kind, text) != ("word", word):
            raise bad_filter(f"{text!r} where AND or OR was expected")

    def word(self) -> str:
        """Takes a field's name."""
        kind, text = self._take("a field")
        if kind != "word":
            raise bad_filter(f"{text!r} where a field was expected: {', '.join(_FIELDS)}")
        return text

    def comparator(self) -> str:
        """Takes a comparator."""
        kind, text = self._take("a comparator such as =")
        if kind != "comparator":
            raise bad_filter(f"{text!r} where a comparator such as = was expected")
        return text

    def value(self) -> str:
        """Takes a value: a word, or a text in quotes."""
        kind, text = self._take("a value")
        if kind == "comparator":
            raise bad_filter(f"{text!r} where a value was expected")
        return re.sub(r"\\(.)", r"\1", text[1:-1]) if kind == "text" else text

    def _take(self, what: str) -> tuple[str, str]:
        if not self.left:
            raise bad_filter(f"it ends where {what} was expected")
        return self.left.pop(0)


def bad_filter(problem: str) -> InvalidRequest:
    """The error for a filter that can't be served."""
    return InvalidRequest(
        f"the filter is not understood: {problem}", violations=(FieldViolation("filter", problem),)
    )
