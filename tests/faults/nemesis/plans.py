"""Generates the calls of a battle from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from tests.survival.parts import gathered, part
from tests.survival.v1.survival_pb2 import Work

QUEUES = ("survival", "survival.processes")


class Kind(StrEnum):
    """The methods of SurvivalService."""

    ASK = "Ask"
    EFFECT = "Effect"
    COUNT = "Count"
    VARY = "Vary"
    ACT = "Act"
    GATHER = "Gather"
    ANSWER = "Answer"
    TALK = "Talk"
    SAY = "Say"
    DETACH = "Detach"
    LEAVE = "Leave"
    GRIND = "Grind"
    QUICK = "Quick"

    @property
    def streams(self) -> bool:
        """Whether it streams responses."""
        return self in (
            *(Kind.COUNT, Kind.VARY, Kind.ACT),
            *(Kind.ANSWER, Kind.TALK, Kind.SAY),
            *(Kind.DETACH, Kind.LEAVE),
        )

    @property
    def takes_stream(self) -> bool:
        """Whether it streams requests."""
        return self is Kind.GATHER or self.answers_each

    @property
    def answers_each(self) -> bool:
        """Whether it has a response to each of its requests."""
        return self in (Kind.ANSWER, Kind.TALK, Kind.SAY)

    @property
    def has_effects(self) -> bool:
        """Whether a begun attempt may never be run again."""
        return self in (Kind.EFFECT, Kind.ACT, Kind.SAY)

    @property
    def varies(self) -> bool:
        """Whether a second attempt returns other bytes."""
        return self is Kind.VARY

    @property
    def durable(self) -> bool:
        """Whether there is a record."""
        return self is not Kind.QUICK


@dataclass(frozen=True)
class Plan:
    """One call; times in seconds, `at_s` from the beginning of its round."""

    id: str
    kind: Kind
    at_s: float
    count: int = 1  # of responses or, if they are a stream, of requests
    size: int = 10
    seconds: float = 0.0  # of work before each response
    deadline_s: float | None = None
    cancel_after_s: float | None = None
    leave_after_s: float | None = None  # its caller disconnects, and does not return
    viewers: int = 1  # callers that attach at the same time

    @property
    def path(self) -> str:
        """The method, as it is on the wire."""
        return f"/tests.survival.v1.SurvivalService/{self.kind}"

    def requests(self) -> list[bytes]:
        """The request messages."""
        texts = [f"{self.id}.{i}" for i in range(self.count)] if self.kind.takes_stream else None
        return [
            Work(
                text=text, count=self.count, size=self.size, seconds=self.seconds
            ).SerializeToString()
            for text in texts or [self.id]
        ]

    def response_count(self) -> int:
        """The number of responses of a successful call."""
        return self.count if self.kind.streams else 1

    def response(self, index: int, run: str = "") -> bytes:
        """The exact response at an index; `run` is its attempt, if responses vary."""
        if self.kind is Kind.GATHER:
            texts = [f"{self.id}.{i}" for i in range(self.count)]
            return gathered(texts, self.size).SerializeToString()
        text = f"{self.id}.{index}" if self.kind.answers_each else self.id
        return part(text, index, self.size, run).SerializeToString()


_WEIGHTS = {
    Kind.ASK: 4,
    Kind.EFFECT: 4,
    Kind.COUNT: 5,
    Kind.VARY: 2,
    Kind.ACT: 2,
    Kind.GATHER: 2,
    Kind.ANSWER: 2,
    Kind.TALK: 3,
    Kind.SAY: 2,
    Kind.DETACH: 2,
    Kind.LEAVE: 1,
    Kind.GRIND: 1,
    Kind.QUICK: 2,
}


def plans(seed: int, count: int, within_s: float) -> list[Plan]:
    """`count` calls that begin within `seconds`."""
    chance = random.Random(f"plans {seed}")  # noqa: S311 - to be repeated, not to be secret
    kinds = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=count)
    return [
        _plan(chance, f"{seed}-{number}", kind, chance.uniform(0, within_s))
        for number, kind in enumerate(kinds)
    ]


def _plan(chance: random.Random, call_id: str, kind: Kind, at_s: float) -> Plan:
    wish = chance.random()
    deadline_s = cancel_after_s = leave_after_s = None
    count, size, seconds = _shape(chance, kind)
    if kind is Kind.LEAVE:
        leave_after_s, seconds, count = chance.uniform(0.1, 2), 0.1, 60
    elif kind is Kind.GRIND and wish < 0.7:
        cancel_after_s, seconds = chance.uniform(0.2, 1.5), 12.0
    elif kind is Kind.QUICK:
        deadline_s = 30.0
    elif wish < 0.12:
        cancel_after_s = chance.uniform(0, 2)
    elif wish < 0.22 and kind is not Kind.DETACH:
        deadline_s = chance.uniform(0.1, 4)
    return Plan(
        call_id,
        kind,
        at_s,
        count,
        size,
        seconds,
        deadline_s,
        cancel_after_s,
        leave_after_s,
        viewers=2 if kind.streams and chance.random() < 0.15 else 1,
    )


def _shape(chance: random.Random, kind: Kind) -> tuple[int, int, float]:
    """The number and size of responses, and the seconds before each."""
    if kind is Kind.GRIND:
        return 1, 10, chance.uniform(0.2, 1.0)
    if not (kind.streams or kind.takes_stream):
        return 1, chance.choice((0, 10, 100_000)), chance.choice((0, 0.2, 1.0, 2.0, 3.0))
    count = chance.choice((0, 1, 5, 20, 200)) if kind.streams else chance.choice((1, 3, 20))
    if kind.takes_stream:
        count = max(1, min(count, 50))
    size = chance.choice((10, 1000, 1000, 100_000)) if count <= 50 else 1000
    # Long enough for faults to hit running calls.
    return count, size, chance.choice((0, 0.5, 2.0, 4.0)) / max(1, count)
