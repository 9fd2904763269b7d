"""Reports of a pool's children to the worker's main process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from forebay_workers.metrics.reports import Reports
from tests.harness import eventually

SECONDS = "forebay_ledger_seconds"


class Main:
    """A main process that adds up what its children report."""

    def __init__(self) -> None:
        self.reports = Reports()
        self.sums: dict[tuple[str, tuple[str, ...]], float] = {}
        self.reports.receive(self._observe)

    def _observe(self, name: str, labels: tuple[str, ...], values: Sequence[float]) -> None:
        self.sums[name, labels] = self.sums.get((name, labels), 0) + sum(values)

    def fork(self, count: int) -> int:
        """A child that counts, reports and ends without any clean-up; its id."""
        pid = os.fork()
        if pid == 0:
            self.reports.in_child()
            for _ in range(count):
                self.reports.add(SECONDS, ("attempts/begin",), 2.0)
            self.reports.task_ended()
            os._exit(9)
        return pid


def test_the_counts_of_children_that_are_gone_stay() -> None:
    main = Main()
    for count in (1, 3):
        os.waitpid(main.fork(count), 0)
    key = (SECONDS, ("attempts/begin",))
    eventually(lambda: main.sums.get(key) == 8.0, "both children's counts arrive", 10.0)


def test_a_long_task_reports_in_several_parts() -> None:
    main = Main()
    os.waitpid(main.fork(4_000), 0)
    key = (SECONDS, ("attempts/begin",))
    eventually(lambda: main.sums.get(key) == 8_000.0, "every part arrives", 10.0)


def test_what_is_counted_soon_after_a_report_follows_within_a_second() -> None:
    main = Main()
    reports = main.reports
    for _ in range(3):
        reports.add(SECONDS, ("attempts/begin",), 1.0)
        reports.task_ended()
    key = (SECONDS, ("attempts/begin",))
    eventually(lambda: main.sums.get(key) == 3.0, "the timer reports", 10.0)
