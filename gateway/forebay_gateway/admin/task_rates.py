"""How fast workers begin tasks, from what each says that it has begun. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

WINDOW_S = 30.0

_Sample = tuple[float, Mapping[str, int]]


class TaskRates:
    """Counts of tasks begun, by worker, over the last half minute."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[_Sample]] = {}

    def observe(self, now_s: float, begun: Mapping[str, Mapping[str, int]]) -> None:
        """What each live worker says now: tasks begun since it started, by task."""
        for worker in self._samples.keys() - begun.keys():
            del self._samples[worker]
        for worker, tasks in begun.items():
            samples = self._samples.setdefault(worker, deque())
            samples.append((now_s, tasks))
            while len(samples) > 2 and samples[1][0] <= now_s - WINDOW_S:
                samples.popleft()

    def per_second(self, tasks: Collection[str]) -> float:
        """Tasks of these names begun in a second, by all workers."""
        return sum(
            _rate(samples[0], samples[-1], tasks)
            for samples in self._samples.values()
            if samples[-1][0] > samples[0][0]
        )


def _rate(first: _Sample, last: _Sample, tasks: Collection[str]) -> float:
    begun = sum(max(0, last[1].get(task, 0) - first[1].get(task, 0)) for task in tasks)
    return begun / (last[0] - first[0])
