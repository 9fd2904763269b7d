"""How many tasks workers begin per second, from the counters in their presence. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from forebay_gateway.admission.rate_window import RateWindow

WINDOW_S = 30.0


class TaskRates:
    """Tasks begun over the last half minute, by worker and task."""

    def __init__(self) -> None:
        self._workers: dict[str, _WorkerRates] = {}

    def observe(self, now_s: float, begun: Mapping[str, Mapping[str, int]]) -> None:
        """Takes each live worker's counters: tasks begun since the worker started, by task."""
        for worker in self._workers.keys() - begun.keys():
            del self._workers[worker]
        for worker, tasks in begun.items():
            known = self._workers.get(worker)
            if known is None:
                self._workers[worker] = _WorkerRates(now_s, tasks)
            else:
                known.observe(now_s, tasks)

    def per_second(self, tasks: Collection[str]) -> float:
        """How many tasks of these names all workers begin per second."""
        return sum(worker.per_s(task) for worker in self._workers.values() for task in tasks)


class _WorkerRates:
    def __init__(self, now_s: float, begun: Mapping[str, int]) -> None:
        self._begun: dict[str, int] = {}
        self._windows: dict[str, RateWindow] = {}
        self._started_at = now_s
        for task, count in begun.items():
            self._start(task, count, now_s)

    def observe(self, now_s: float, begun: Mapping[str, int]) -> None:
        for task, count in begun.items():
            if task not in self._windows:  # the worker had begun no such task before
                self._start(task, 0, max(self._started_at, now_s - WINDOW_S))
            # A restarted worker has a new id, but never count backwards.
            self._windows[task].add(now_s, max(0, count - self._begun[task]))
            self._begun[task] = count

    def per_s(self, task: str) -> float:
        window = self._windows.get(task)
        return (window.per_s() if window is not None else None) or 0.0

    def _start(self, task: str, count: int, at_s: float) -> None:
        self._begun[task] = count
        self._windows[task] = RateWindow(WINDOW_S)
        self._windows[task].start(at_s)
