"""The errors that RPCs ended with in the last hour, by their kind, with a sample of each. Pure.

A kind is a tenant, a method, a status code and a reason. Memory is bounded: of too many kinds, the
one that has not occurred for the longest time is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from forebay_gateway.admin.activity import WINDOW_S

_MINUTE_S = 60
MOST_KINDS = 200
_MOST_CALLS = 5
_MOST_CHARACTERS = 512


class Kind(NamedTuple):
    """What the errors of a sample have in common; `tenant` is empty without authentication."""

    tenant: str
    method: str
    code: int
    reason: str


@dataclass
class Errors:
    """The errors of one kind. `calls` has the ids of the latest durable ones, newest first.

    `minutes` maps a minute, counted since 1970, to how many errors it had and the time of the
    first.
    """

    last_s: float = 0.0
    message: str = ""
    calls: list[str] = field(default_factory=list)
    minutes: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(count for count, _ in self.minutes.values())

    @property
    def first_s(self) -> float:
        return min((first_s for _, first_s in self.minutes.values()), default=self.last_s)

    def add(self, now_s: float, message: str, call_id: str) -> None:
        """Counts an error; `call_id` is empty if it has no record."""
        self.last_s, self.message = now_s, message[:_MOST_CHARACTERS]
        if call_id:
            self.calls = list(dict.fromkeys((call_id, *self.calls)))[:_MOST_CALLS]
        minute = int(now_s // _MINUTE_S)
        count, first_s = self.minutes.get(minute, (0, now_s))
        self.minutes[minute] = count + 1, first_s

    def forget(self, now_s: float) -> None:
        """Drops the counts of minutes that are over an hour old."""
        oldest = int((now_s - WINDOW_S) // _MINUTE_S)
        for minute in [minute for minute in self.minutes if minute <= oldest]:
            del self.minutes[minute]

    def __add__(self, other: Errors) -> Errors:
        """The errors of two processes."""
        newer, older = (self, other) if self.last_s >= other.last_s else (other, self)
        minutes = dict(older.minutes)
        for minute, (count, first_s) in newer.minutes.items():
            known, known_first_s = minutes.get(minute, (0, first_s))
            minutes[minute] = known + count, min(first_s, known_first_s)
        calls = list(dict.fromkeys((*newer.calls, *older.calls)))[:_MOST_CALLS]
        return Errors(newer.last_s, newer.message, calls, minutes)


class ErrorSamples:
    """The latest errors of one gateway process, by kind."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, Errors] = {}  # the latest last

    def add(self, now_s: float, kind: Kind, message: str, call_id: str = "") -> None:
        """Counts an error that an RPC ended with."""
        errors = self._kinds.pop(kind, None) or Errors()
        errors.forget(now_s)
        errors.add(now_s, message, call_id)
        self._kinds[kind] = errors
        if len(self._kinds) > MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]

    def last_hour(self, now_s: float) -> dict[Kind, Errors]:
        """The kinds that occurred within the last hour."""
        for kind, errors in list(self._kinds.items()):
            errors.forget(now_s)
            if not errors.minutes:
                del self._kinds[kind]
        return dict(self._kinds)


def added(processes: Iterable[dict[Kind, Errors]]) -> dict[Kind, Errors]:
    """The errors of several processes together, the latest first."""
    found: dict[Kind, Errors] = {}
    for kinds in processes:
        for kind, errors in kinds.items():
            known = found.get(kind)
            found[kind] = errors if known is None else known + errors
    return dict(sorted(found.items(), key=lambda item: item[1].last_s, reverse=True))


def errors_json(kinds: dict[Kind, Errors]) -> bytes:
    """The errors, for another process."""
    listed = [
        [*kind, errors.last_s, errors.message, errors.calls, list(errors.minutes.items())]
        for kind, errors in kinds.items()
    ]
    return json.dumps(listed).encode()


def parse_errors(text: bytes) -> dict[Kind, Errors]:
    """The reverse of `errors_json`."""
    return dict(_parsed(json.loads(text)))


def _parsed(listed: list[Any]) -> Iterator[tuple[Kind, Errors]]:
    for tenant, method, code, reason, last_s, message, calls, minutes in listed:
        by_minute = {minute: (count, first_s) for minute, (count, first_s) in minutes}
        yield Kind(tenant, method, code, reason), Errors(last_s, message, calls, by_minute)
