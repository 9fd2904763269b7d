"""Freed memory is returned to the system once a process keeps much of it."""

from __future__ import annotations

from forebay_backends.process.memory import (
    KEPT_BYTES,
    FreedMemory,
    allocated_bytes,
    resident_bytes,
)


class Heap:
    """A process's memory; a trim returns what was freed."""

    def __init__(self) -> None:
        self.rest, self.allocated, self.freed, self.trims = 50 << 20, 10 << 20, 0, 0

    def trim(self) -> None:
        self.trims += 1
        self.freed = 0

    def freed_memory(self) -> FreedMemory:
        return FreedMemory(
            lambda: self.rest + self.allocated + self.freed, lambda: self.allocated, self.trim
        )


def test_it_is_returned_after_a_burst_and_not_after_few_messages() -> None:
    heap = Heap()
    memory = heap.freed_memory()
    heap.freed = KEPT_BYTES
    assert not memory.give_back()
    heap.freed += 1
    assert memory.give_back()
    assert heap.trims == 1
    assert not memory.give_back()


def test_memory_that_a_trim_does_not_return_causes_few_more() -> None:
    heap = Heap()
    memory = heap.freed_memory()
    heap.rest += 2 * KEPT_BYTES
    assert memory.give_back()
    assert not memory.give_back()
    assert memory.give_back(), "in the middle of a burst a trim returns little"
    assert heap.trims == 2


def test_a_process_has_memory() -> None:
    assert 0 < allocated_bytes() < resident_bytes()
