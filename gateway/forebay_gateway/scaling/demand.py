"""How many workers a queue needs. Pure.

KEDA's HorizontalPodAutoscaler runs `value / target` workers, rounded up. So the value of the metric
is the number of workers that are needed, times the target. How many slots a worker has is known
from the live workers, or from the last that were seen. If none was ever seen, the metric asks for
one worker, which then reports its slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay_gateway.scaling.trigger import CallsPerSlot, Goal


@dataclass(frozen=True)
class QueueFigures:
    """A queue and its workers. Ephemeral calls that share a message count as one.

    `held` are the calls that the workers have taken from the broker. `per_slot_s` is how many calls
    a slot begins per second while calls wait. Both it and `oldest_wait_s` are None if unknown.
    """

    waiting: int
    held: int
    slots: int
    workers: int
    per_slot_s: float | None = None
    oldest_wait_s: float | None = None

    @property
    def calls(self) -> int:
        """All calls that wait or run."""
        return self.waiting + self.held


def metric_value(figures: QueueFigures, goal: Goal, worker_slots: float | None) -> float:
    """The number of needed workers times the goal's size.

    `worker_slots` is how many slots a worker has, None if unknown.
    """
    if not figures.calls:
        return 0.0
    if worker_slots is None:
        return goal.size
    if isinstance(goal, CallsPerSlot):
        return figures.calls / worker_slots
    running = min(figures.held, figures.slots)
    needed = max(running, _slots_to_begin(figures, figures.calls - running, goal.size), 1)
    return needed / worker_slots * goal.size


def _slots_to_begin(figures: QueueFigures, waiting: int, within_s: float) -> float:
    """The number of slots that can begin all waiting calls `within_s`.

    Without a rate (a queue that was just filled, or calls that take minutes), the present slots are
    multiplied by the ratio of the oldest call's wait to the goal.
    """
    if not waiting:
        return 0.0
    if figures.per_slot_s:
        return waiting / (figures.per_slot_s * within_s)
    return figures.slots * (figures.oldest_wait_s or 0.0) / within_s
