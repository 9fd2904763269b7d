"""The limits of an application's tasks, as its workers report them. Pure.

A worker answers `registered` with one line a task, `"shop.add [rate_limit=6/m time_limit=1.5]"`,
and `stats` with the limits of its pool, `{"timeouts": [soft, hard]}`, where 0 stands for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

REPORTED_ATTRIBUTES = ("rate_limit", "time_limit")
"""The attributes that `registered` is asked to report."""
_ATTRIBUTE = re.compile(r"(\w+)=([^\s\]]+)")


@dataclass(frozen=True)
class TaskLimits:
    """A task's rate limit, if it has one, and its hard time limit."""

    is_rate_limited: bool = False
    time_limit_s: float = inf


def limits_by_task(registered: Iterable[Any], pool: dict[str, Any]) -> dict[str, TaskLimits]:
    """The limits of each task of a worker. A value that Celery would not send is no limit."""
    timeouts = pool.get("timeouts")
    pool_limit_s = _limit(timeouts[-1]) if isinstance(timeouts, list) and timeouts else inf
    return dict(_task(str(line), pool_limit_s) for line in registered)


def strictest(limits: Iterable[TaskLimits]) -> TaskLimits:
    """The strictest limits of several workers, any of which may run the task."""
    found = list(limits)
    return TaskLimits(
        any(each.is_rate_limited for each in found),
        min((each.time_limit_s for each in found), default=inf),
    )


def _task(line: str, pool_limit_s: float) -> tuple[str, TaskLimits]:
    name, _, rest = line.partition(" [")
    attributes = dict(_ATTRIBUTE.findall(rest))
    is_rate_limited = _limit(attributes.get("rate_limit", "").partition("/")[0]) < inf
    own_limit_s = _limit(attributes.get("time_limit"))
    return name, TaskLimits(is_rate_limited, own_limit_s if own_limit_s < inf else pool_limit_s)


def _limit(value: Any) -> float:
    """A positive number; infinity for 0, None and anything else."""
    try:
        return float(value) or inf
    except (TypeError, ValueError):
        return inf
