"""A computation in a thread: its parts, its progress, and abandoning it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay_workers.compute import background
from forebay_workers.compute.background import Background, ProgressMark

TIMEOUT_S = 30.0


@pytest.fixture(autouse=True)
def _progress_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PROGRESS_INTERVAL_S", 0.01)


def _is_active() -> bool:
    return True


def _without_progress(parts: Background[int]) -> list[int]:
    return [part for part in parts if not isinstance(part, pb.Progress)]


def test_the_parts_come_in_order() -> None:
    with Background(lambda mark: iter(range(100)), _is_active) as parts:
        assert _without_progress(parts) == list(range(100))


def test_a_computation_without_parts_ends() -> None:
    with Background(lambda mark: iter(list[int]()), _is_active) as parts:
        assert _without_progress(parts) == []


def test_it_runs_in_a_thread_of_its_own() -> None:
    def compute(mark: ProgressMark) -> Iterator[int]:
        yield threading.get_ident()

    with Background(compute, _is_active) as parts:
        assert _without_progress(parts) != [threading.get_ident()]


def test_progress_is_reported_while_no_parts_come() -> None:
    reported = threading.Event()

    def compute(mark: ProgressMark) -> Iterator[int]:
        mark.at(0.5, "multiply")
        assert reported.wait(TIMEOUT_S)
        yield 1

    with Background(compute, _is_active) as parts:
        found = iter(parts)
        part = next(found)
        while part == pb.Progress(fraction=0.0, stage="begin"):  # the thread is still starting
            part = next(found)
        assert part == pb.Progress(fraction=0.5, stage="multiply")
        reported.set()
        assert [part for part in found if not isinstance(part, pb.Progress)] == [1]


def test_an_error_is_raised_after_the_parts_before_it() -> None:
    def compute(mark: ProgressMark) -> Iterator[int]:
        yield 1
        raise MemoryError("too large")

    with Background(compute, _is_active) as parts:
        found = (part for part in parts if not isinstance(part, pb.Progress))
        assert next(found) == 1
        with pytest.raises(MemoryError, match="too large"):
            next(found)


def test_leaving_the_block_ends_a_computation_at_its_next_step() -> None:
    ended = threading.Event()

    def compute(mark: ProgressMark) -> Iterator[int]:
        try:
            yield 1
            while True:
                mark.at(0.5, "multiply")
        finally:
            ended.set()

    with Background(compute, _is_active) as parts:
        next(iter(parts))
        assert not ended.is_set()
    assert ended.wait(TIMEOUT_S)


def test_leaving_the_block_ends_a_computation_with_a_full_queue() -> None:
    ended = threading.Event()
    computed: list[int] = []

    def compute(mark: ProgressMark) -> Iterator[int]:
        try:
            for part in range(1_000_000):
                computed.append(part)
                yield part
        finally:
            ended.set()

    with Background(compute, _is_active) as parts:
        next(iter(parts))
    assert ended.wait(TIMEOUT_S)
    assert len(computed) < 20


def test_the_iteration_ends_soon_after_the_call_even_during_a_long_step() -> None:
    release = threading.Event()
    answers = iter([True, True, False])

    def compute(mark: ProgressMark) -> Iterator[int]:
        assert release.wait(TIMEOUT_S)
        yield 1

    with Background(compute, lambda: next(answers)) as parts:
        assert _without_progress(parts) == []
    release.set()


def test_only_a_few_parts_are_computed_ahead() -> None:
    computed: list[int] = []

    def compute(mark: ProgressMark) -> Iterator[int]:
        for part in range(1000):
            computed.append(part)
            yield part

    with Background(compute, _is_active) as parts:
        for taken, part in enumerate(p for p in parts if not isinstance(p, pb.Progress)):
            assert part == taken
            assert len(computed) <= taken + 8
            if taken == 50:
                break


def test_the_error_of_an_abandoned_computation_is_dropped() -> None:
    abandoned, ended = threading.Event(), threading.Event()

    def parts(mark: ProgressMark) -> Iterator[int]:
        yield 1
        abandoned.wait(TIMEOUT_S)
        try:
            raise RuntimeError("too late")
        finally:
            ended.set()

    with Background(parts, _is_active) as background_parts:
        assert next(part for part in background_parts if isinstance(part, int)) == 1
    abandoned.set()
    assert ended.wait(TIMEOUT_S)
    for thread in threading.enumerate():
        if thread.name == "forebay-compute":
            thread.join(TIMEOUT_S)
