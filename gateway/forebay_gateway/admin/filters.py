"""The filters with which callers list calls. Pure.

For example: `state = RUNNING AND queue = "math" OR queue = "text"`. The language is a subset of
https://google.aip.dev/160: comparisons joined by AND and OR, without parentheses or functions.
As in AIP-160, OR binds more tightly than AND.
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
from forebay_gateway.admin.call_names import name_of

MAX_CHARACTERS = 4096

Test = Callable[[Listed], bool]
Text = Callable[[Listed, str], str]
"""Reads a field of a call; the second argument is the caller's tenant."""

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
_TEXTS: dict[str, Text] = {
    "name": lambda one, caller: name_of(one.call, caller),
    "method": lambda one, caller: one.method,
    "queue": lambda one, caller: one.queue,
    "worker": lambda one, caller: one.worker,
    "reason": lambda one, caller: one.reason,
    "tenant": lambda one, caller: one.call.owner,
}
_FIELDS = ("state", "done", *_TEXTS, *_TIMES)
_NS_PER_MS = 1_000_000


@dataclass(frozen=True)
class Filter:
    """A parsed filter: a call matches if all tests hold.

    All calls that match were created between `oldest_ms` and `newest_ms`, so a listing need not
    look at others. None: no bound.
    """

    tests: tuple[Test, ...] = ()
    oldest_ms: int | None = None
    newest_ms: int | None = None

    def matches(self, one: Listed) -> bool:
        """Whether the call passes the filter."""
        return all(test(one) for test in self.tests)

    @property
    def start(self) -> Cursor | None:
        """Where the listing starts; None: at the newest call."""
        return None if self.newest_ms is None else Cursor(self.newest_ms + 1, "")


@dataclass(frozen=True)
class _Comparison:
    test: Test
    oldest_ms: int | None = None
    newest_ms: int | None = None


def parse_filter(text: str, caller: str = "") -> Filter:
    """Parses a filter; `caller` is the caller's tenant. An empty filter matches all calls.

    Raises InvalidRequest.
    """
    tokens = _Tokens(text)
    clauses: list[list[_Comparison]] = []
    while not tokens.at_end:
        if clauses:
            tokens.expect("AND")
        clauses.append([_comparison(tokens, caller)])
        while tokens.next_is("OR"):
            tokens.expect("OR")
            clauses[-1].append(_comparison(tokens, caller))
    single = [one for [one, *others] in clauses if not others]
    return Filter(
        tuple(_any([one.test for one in comparisons]) for comparisons in clauses),
        max((one.oldest_ms for one in single if one.oldest_ms is not None), default=None),
        min((one.newest_ms for one in single if one.newest_ms is not None), default=None),
    )


def _any(tests: list[Test]) -> Test:
    return lambda one: any(test(one) for test in tests)


def _comparison(tokens: _Tokens, caller: str) -> _Comparison:
    field, comparator, value = tokens.word(), tokens.comparator(), tokens.value()
    if field in _TIMES:
        return _time_comparison(field, comparator, value)
    if field not in _FIELDS:
        raise bad_filter(
            f"{field!r} is not a field to filter by; the fields are {', '.join(_FIELDS)}"
        )
    if comparator not in ("=", "!="):
        raise bad_filter(f"{field} {comparator} …: expected = or !=")
    test = _equality_test(field, value, caller)
    return _Comparison(test if comparator == "=" else lambda one: not test(one))


def _equality_test(field: str, value: str, caller: str) -> Test:
    if field == "state":
        name = value.removeprefix("CALL_STATE_")
        if name not in State.__members__:
            raise bad_filter(f"state {value!r}: expected one of {', '.join(State.__members__)}")
        return lambda one: one.state is State[name]
    if field == "done":
        if value not in ("true", "false"):
            raise bad_filter(f"done {value!r}: expected true or false")
        return lambda one: _is_done(one) is (value == "true")
    pattern = re.compile(".*".join(re.escape(part) for part in _split_wildcards(value)), re.DOTALL)
    return lambda one: pattern.fullmatch(_TEXTS[field](one, caller)) is not None


def _is_done(one: Listed) -> bool:
    return one.state is not None and one.state.terminal


def _split_wildcards(value: str) -> list[str]:
    """Splits off a leading and a trailing `*`, which match any text: "a*" gives ["a", ""]."""
    inner = value[1:] if value.startswith("*") else value
    parts = [inner[:-1], ""] if inner.endswith("*") else [inner]
    return ["", *parts] if value.startswith("*") else parts


def _time_comparison(field: str, comparator: str, value: str) -> _Comparison:
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
        return read(one) > 0 and compare(read(one) * _NS_PER_MS, time_ns)

    if field != "create_time":
        return _Comparison(test)
    return _Comparison(
        test,
        oldest_ms=max(0, time_ns // _NS_PER_MS) if comparator[0] in "=>" else None,
        newest_ms=max(0, -(-time_ns // _NS_PER_MS)) if comparator[0] in "=<" else None,
    )


class _Tokens:
    """The tokens of a filter, consumed from the left."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise bad_filter(f"it is longer than {MAX_CHARACTERS} characters")
        self._rest: list[tuple[str, str]] = []
        text = text.strip()
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise bad_filter(f"syntax error at {text[position : position + 20]!r}")
            self._rest.append((match.lastgroup or "", match[match.lastgroup or 0]))
            position = match.end()

    @property
    def at_end(self) -> bool:
        return not self._rest

    def next_is(self, word: str) -> bool:
        return self._rest[:1] == [("word", word)]

    def expect(self, word: str) -> None:
        """Consumes `word`."""
        kind, text = self._consume(f"{word}, then a comparison")
        if (kind, text) != ("word", word):
            raise bad_filter(f"{text!r} where AND or OR was expected")

    def word(self) -> str:
        """Consumes the name of a field."""
        kind, text = self._consume("a field")
        if kind != "word":
            raise bad_filter(f"{text!r} where a field was expected: {', '.join(_FIELDS)}")
        return text

    def comparator(self) -> str:
        """Consumes a comparator."""
        kind, text = self._consume("a comparator such as =")
        if kind != "comparator":
            raise bad_filter(f"{text!r} where a comparator such as = was expected")
        return text

    def value(self) -> str:
        """Consumes a value: a word, or a quoted text."""
        kind, text = self._consume("a value")
        if kind == "comparator":
            raise bad_filter(f"{text!r} where a value was expected")
        return re.sub(r"\\(.)", r"\1", text[1:-1]) if kind == "text" else text

    def _consume(self, expected: str) -> tuple[str, str]:
        if not self._rest:
            raise bad_filter(f"it ends where {expected} was expected")
        return self._rest.pop(0)


def bad_filter(problem: str) -> InvalidRequest:
    """The error for an invalid filter."""
    return InvalidRequest(
        f"the filter is invalid: {problem}", violations=(FieldViolation("filter", problem),)
    )
