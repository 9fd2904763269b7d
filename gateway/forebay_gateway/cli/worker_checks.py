"""The workers of each queue, for `forebay doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.v1.calls_pb2 import MethodProblemKind, ServedMethod
from forebay_gateway.cli.finding import Finding, counted
from forebay_gateway.cli.served_methods import is_known

_NO_CONSUMER = MethodProblemKind.METHOD_PROBLEM_KIND_NO_CONSUMER


def worker_findings(methods: Sequence[ServedMethod]) -> list[Finding]:
    """A finding for each queue, and one for each other problem with a method's workers."""
    if not all(map(is_known, methods)):
        return [Finding("workers", False, "unknown: the ledger does not answer", "fix the ledger")]
    unconsumed = {
        method.queue: problem.fix
        for method in methods
        for problem in method.problems
        if problem.kind == _NO_CONSUMER
    }
    slots: dict[str, int] = {}
    for method in methods:
        slots[method.queue] = max(method.slots, slots.get(method.queue, 0))
    queues = [
        Finding(f"queue {queue}", True, f"{counted(slots[queue], 'call')} at a time")
        if queue not in unconsumed
        else Finding(f"queue {queue}", False, "no live worker consumes it", unconsumed[queue])
        for queue in sorted(slots)
    ]
    return queues + [
        Finding(f"method {method.name}", False, problem.description, problem.fix)
        for method in methods
        for problem in method.problems
        if problem.kind != _NO_CONSUMER
    ]
