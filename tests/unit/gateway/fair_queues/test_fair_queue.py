"""How much of a fair queue is in the broker, and which of its calls wait for a worker."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.fair_queues.fair_queue import FairQueue, QueueEntry


class Counter:
    """Calls the function when a call does not wait any more."""

    def __init__(self, wait_ends: Callable[[], None]) -> None:
        self.wait_ends = wait_ends


class Call(QueueEntry):
    """A call of a queue, of no particular kind."""

    queue = "q"
    priority = 0

    def __init__(
        self, tenant: str = "a", on_begun: Callable[[], None] = lambda: None, cost: float = 1
    ) -> None:
        self.tenant = tenant
        self.account = Counter(on_begun)
        self._cost = cost

    def send(self) -> None:
        """Does nothing: the tests look at what `next` returns."""

    def cost(self) -> float:
        return self._cost


def entered(queue: FairQueue, count: int, slots: int, tenant: str = "a") -> list[Call]:
    """Calls that came one after the other."""
    entries = [Call(tenant) for _ in range(count)]
    for one in entries:
        assert queue.enter(one, slots) is not one.is_held
    return entries


def test_the_broker_has_twice_the_slots() -> None:
    queue = FairQueue(lambda tenant: 1)
    entries = entered(queue, 10, slots=2)
    assert [one.is_held for one in entries] == [False] * 4 + [True] * 6
    assert queue.next(2) is None
    queue.leave(entries[0])
    assert queue.next(2) is entries[4]
    assert queue.next(2) is None
    assert queue.next(3) is entries[5], "another slot has come"


def test_without_workers_the_broker_has_two() -> None:
    queue = FairQueue(lambda tenant: 1)
    assert sum(not one.is_held for one in entered(queue, 5, slots=0)) == 2


def test_the_first_in_the_broker_are_presumed_to_run() -> None:
    queue, begun = FairQueue(lambda tenant: 1), []
    entries = []
    for number in range(6):
        entries.append(Call(on_begun=lambda number=number: begun.append(number)))  # type: ignore[misc]
        queue.enter(entries[-1], 2)
    assert begun == [0, 1]
    queue.leave(entries[1])
    queue.next(2)
    assert begun == [0, 1, 2]
    queue.leave(entries[3])
    queue.leave(entries[5])
    queue.leave(entries[5])
    assert begun == [0, 1, 2, 3, 5], "calls that leave do not wait any more; each is told once"


def test_a_batch_counts_as_one() -> None:
    queue = FairQueue(lambda tenant: 1)
    entries = [Call(cost=1 / 8) for _ in range(40)]
    for one in entries:
        queue.enter(one, 2)
    assert sum(not one.is_held for one in entries) == 32


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.booleans()), max_size=80))
def test_nothing_is_left_behind_and_the_window_holds(
    steps: list[tuple[str, int, bool]],
) -> None:
    queue, waiting = FairQueue(lambda tenant: 1), [0]

    def begun() -> None:
        waiting[0] -= 1

    inside: list[Call] = []
    for tenant, slots, comes in steps:
        if comes or not inside:
            waiting[0] += 1
            inside.append(Call(tenant, begun))
            queue.enter(inside[-1], slots)
        else:
            queue.leave(inside.pop(len(inside) // 2))
        while queue.next(slots) is not None:
            pass
        out = [one for one in inside if not one.is_held]
        assert len(out) >= min(len(inside), 2 * max(slots, 1)), "work conserving"
        assert waiting[0] >= queue.held.count
    for one in inside:
        queue.leave(one)
    assert queue.is_empty
    assert waiting[0] == 0
