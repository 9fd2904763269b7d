"""Computing parts for as long as there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from forebay_backends.ledger.operations.parts import Piece, Taken
from forebay_backends.ledger.scripts import LEASE_S
from forebay_workers.sharing.owner import helped_by, in_parts, parts_of
from forebay_workers.sharing.part_loop import compute_parts
from tests.unit.samples import context

NONE_NOW = Taken(None, more=True)
NONE_LEFT = Taken(None, more=False)


def square(part: int) -> list[bytes]:
    return [str(part * part).encode()]


class Shelf:
    """What there is to take, in order, and what was delivered."""

    def __init__(self, *given: Taken) -> None:
        self._given: Iterator[Taken] = iter(given)
        self.patience_s: list[float] = []
        self.delivered: dict[int, Sequence[Piece]] = {}
        self.waits: list[bool] = []

    def take(self, patience_s: float) -> Taken:
        self.patience_s.append(patience_s)
        return next(self._given)

    def deliver(self, part: int, pieces: Sequence[Piece]) -> None:
        self.delivered[part] = pieces

    def wait(self, more: bool) -> bool:
        self.waits.append(more)
        return more

    def work(self) -> int:
        return compute_parts(self.take, square, self.deliver, self.wait)


def test_parts_are_computed_until_none_is_left() -> None:
    shelf = Shelf(Taken(2, more=True), NONE_NOW, Taken(5, more=True), NONE_LEFT)
    assert shelf.work() == 2
    assert shelf.delivered == {2: [b"4"], 5: [b"25"]}
    assert shelf.waits == [True, False]


def test_who_has_computed_a_part_knows_how_long_others_may_take() -> None:
    shelf = Shelf(Taken(0, more=True), NONE_LEFT)
    shelf.work()
    before, after = shelf.patience_s
    assert before == LEASE_S
    assert after < before


def test_what_fails_ends_the_work() -> None:
    def fail(part: int) -> list[bytes]:
        raise ZeroDivisionError

    shelf = Shelf(Taken(0, more=True))
    with pytest.raises(ZeroDivisionError):
        compute_parts(shelf.take, fail, shelf.deliver, shelf.wait)
    assert shelf.delivered == {}


def test_where_nothing_can_be_shared_a_part_is_computed_when_it_is_asked_for() -> None:
    computed: list[int] = []

    def compute(part: int) -> list[bytes]:
        computed.append(part)
        return square(part)

    parts = in_parts(context(), 3, 1, compute)
    assert (next(parts), computed) == ([b"0"], [0])
    assert list(parts) == [[b"1"], [b"4"]]


def test_a_handler_says_how_others_help_it() -> None:
    @helped_by(lambda request, context: square)
    def handler(request: object, context: object) -> None:
        raise AssertionError("it is not called")

    parts = parts_of(handler)
    assert parts is not None
    assert parts(None, context())(3) == [b"9"]
    assert parts_of(square) is None
