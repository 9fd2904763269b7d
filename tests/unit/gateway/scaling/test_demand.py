"""How many workers a queue needs: KEDA runs the metric divided by the target, rounded up."""

from __future__ import annotations

from math import ceil

import pytest

from forebay_gateway.scaling.demand import QueueFigures, metric_value
from forebay_gateway.scaling.trigger import CallsPerSlot, Goal, WaitSeconds


def workers(figures: QueueFigures, goal: Goal, worker_slots: float | None) -> int:
    """The number of workers that KEDA would run."""
    return ceil(round(metric_value(figures, goal, worker_slots) / goal.size, 9))


def test_an_idle_queue_needs_no_worker() -> None:
    idle = QueueFigures(waiting=0, held=0, slots=8, workers=2)
    assert metric_value(idle, CallsPerSlot(1), 4) == 0
    assert metric_value(idle, WaitSeconds(10), 4) == 0


@pytest.mark.parametrize("goal", [CallsPerSlot(3), WaitSeconds(10)])
def test_before_any_worker_was_seen_one_is_needed(goal: Goal) -> None:
    assert workers(QueueFigures(waiting=500, held=0, slots=0, workers=0), goal, None) == 1


@pytest.mark.parametrize(
    ("waiting", "held", "target", "needed"),
    [(1, 0, 1, 1), (8, 0, 1, 2), (9, 0, 1, 3), (0, 8, 1, 2), (16, 8, 1, 6), (16, 8, 2, 3)],
)
def test_a_target_is_the_calls_of_each_slot(
    waiting: int, held: int, target: float, needed: int
) -> None:
    figures = QueueFigures(waiting, held, slots=8, workers=2)
    assert workers(figures, CallsPerSlot(target), worker_slots=4) == needed


def test_from_zero_the_slots_of_the_last_workers_count() -> None:
    figures = QueueFigures(waiting=32, held=0, slots=0, workers=0)
    assert workers(figures, CallsPerSlot(1), worker_slots=4) == 8


@pytest.mark.parametrize(
    ("waiting", "needed"),
    [
        (0, 2),  # as many as run
        (80, 2),  # 80 calls at 1 a second and slot, in 10 s: 8 slots
        (160, 4),
        (161, 5),
    ],
)
def test_a_wait_is_kept_at_the_rate_at_which_the_slots_begin_calls(
    waiting: int, needed: int
) -> None:
    figures = QueueFigures(waiting, held=8, slots=8, workers=2, per_slot_s=1.0)
    assert workers(figures, WaitSeconds(10), worker_slots=4) == needed


@pytest.mark.parametrize(("oldest_wait_s", "needed"), [(1, 2), (10, 2), (20, 4), (40, 8)])
def test_without_a_rate_the_fleet_grows_as_the_oldest_call_waits(
    oldest_wait_s: float, needed: int
) -> None:
    figures = QueueFigures(
        waiting=100, held=8, slots=8, workers=2, per_slot_s=None, oldest_wait_s=oldest_wait_s
    )
    assert workers(figures, WaitSeconds(10), worker_slots=4) == needed


def test_calls_that_a_worker_holds_beyond_its_slots_wait() -> None:
    figures = QueueFigures(waiting=0, held=48, slots=8, workers=2, per_slot_s=1.0)
    assert workers(figures, WaitSeconds(5), worker_slots=4) == 2
    assert workers(figures, WaitSeconds(2), worker_slots=4) == 5
