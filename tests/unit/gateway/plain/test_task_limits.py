"""The limits of tasks, as workers report them."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from forebay_gateway.plain.task_limits import TaskLimits, limits_by_task, strictest


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("shop.add", TaskLimits()),
        ("shop.add [rate_limit=6/m]", TaskLimits(is_rate_limited=True)),
        ("shop.add [rate_limit=0.5]", TaskLimits(is_rate_limited=True)),
        ("shop.add [rate_limit=0/s]", TaskLimits()),
        ("shop.add [time_limit=1.5]", TaskLimits(time_limit_s=1.5)),
        ("shop.add [rate_limit=1/h time_limit=3]", TaskLimits(True, 3.0)),
        ("shop.add [time_limit=0]", TaskLimits()),
        ("shop.add [time_limit=soon rate_limit=often]", TaskLimits()),
        ("shop.add [soft_time_limit=1]", TaskLimits()),
    ],
)
def test_a_tasks_limits_are_attributes_of_its_line(line: str, expected: TaskLimits) -> None:
    assert limits_by_task([line], {}) == {"shop.add": expected}


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [([0, 5], 5.0), ([4, 0], inf), ([], inf), (None, inf), ("ab", inf), ([0, None], inf)],
)
def test_the_pools_limit_counts_for_a_task_without_its_own(timeouts: Any, expected: float) -> None:
    found = limits_by_task(["a", "b [time_limit=9]"], {"timeouts": timeouts})
    assert [each.time_limit_s for each in found.values()] == [expected, 9.0]


@pytest.mark.parametrize("line", [None, 3, {}, [], "", " [", "x [=]"])
def test_lines_of_another_form_have_no_limits(line: Any) -> None:
    assert list(limits_by_task([line], {}).values()) == [TaskLimits()]


def test_of_several_workers_the_strictest_limits_count() -> None:
    limits = [TaskLimits(True, 9.0), TaskLimits(False, 2.0), TaskLimits()]
    assert strictest(limits) == TaskLimits(True, 2.0)
    assert strictest([]) == TaskLimits()
