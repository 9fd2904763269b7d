"""How much of a fair queue is in the broker, and which of its calls wait for a worker."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.fair_queues.fair_queue import FairQueue, QueueEntry


def entry(
    tenant: str = "a", on_begun: Callable[[], None] = lambda: None, cost: float = 1
) -> QueueEntry:
    """A call in a queue."""
    return QueueEntry("q", tenant, 0, lambda: None, cost=lambda: cost, on_begun=on_begun)


def entered(queue: FairQueue, count: int, slots: int, tenant: str = "a") -> list[QueueEntry]:
    """Calls that came one after the other."""
    entries = [entry(tenant) for _ in range(count)]
    for one in entries:
        queue.enter(one, slots)
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
        entries.append(entry(on_begun=lambda number=number: begun.append(number)))  # type: ignore[misc]
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
    entries = [entry(cost=1 / 8) for _ in range(40)]
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

    inside: list[QueueEntry] = []
    for tenant, slots, comes in steps:
        if comes or not inside:
            waiting[0] += 1
            inside.append(entry(tenant, begun))
            queue.enter(inside[-1], slots)
        else:
            queue.leave(inside.pop(len(inside) // 2))
        while queue.next(slots) is not None:
            pass
        out = [one for one in inside if not one.is_held]
        assert len(out) >= min(len(inside), 2 * max(slots, 1)), "work conserving"
        assert waiting[0] >= queue.held
    for one in inside:
        queue.leave(one)
    assert queue.is_empty
    assert waiting[0] == 0
