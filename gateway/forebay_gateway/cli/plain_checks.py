"""The workers of plain tasks, for `forebay doctor` and `forebay routes`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from forebay.errors import BackendUnavailable
from forebay.routes import Method
from forebay_backends.settings import CeleryApplication, Settings
from forebay_gateway.cli.finding import Finding, counted
from forebay_gateway.fleet.worker_problems import Consumers, ProblemKind
from forebay_gateway.plain.asking import asked_workers
from forebay_gateway.server.methods import applications_of

_ROUNDS = 2
"""How often to ask workers: busy ones may answer late."""


async def find_plain_consumers(
    settings: Settings, methods: Sequence[Method]
) -> Mapping[str, Consumers]:
    """The workers of each plain method, by its name; no methods whose broker is unavailable."""
    applications = known_applications(settings, methods)
    found = await asyncio.gather(
        *(consumers_of_application(application, methods) for application in applications)
    )
    return {name: one for several in found for name, one in (several or {}).items()}


def known_applications(settings: Settings, methods: Sequence[Method]) -> list[CeleryApplication]:
    """The applications of plain methods, as far as the settings have them.

    The methods may come from a gateway with other settings.
    """
    names = applications_of(methods)
    return [
        settings.application(name) for name in names if not name or name in settings.applications
    ]


async def consumers_of_application(
    application: CeleryApplication, methods: Sequence[Method]
) -> Mapping[str, Consumers] | None:
    """The workers of each of the application's methods; None if its broker is unavailable."""
    try:
        async with asked_workers(application) as workers:
            for _ in range(_ROUNDS):
                await workers.inspect()
                found = {
                    method.name: workers.consumers_of(method)
                    for method in methods
                    if method.is_plain and method.application == application.name
                }
                kinds = {problem.kind for one in found.values() for problem in one.problems}
                if ProblemKind.NO_CONSUMER not in kinds:
                    break
            return found
    except (BackendUnavailable, TimeoutError):
        return None


def plain_findings(
    application: CeleryApplication, consumers: Mapping[str, Consumers] | None
) -> list[Finding]:
    """A finding for each queue with a worker, and one for each problem of a method's workers."""
    if consumers is None:
        subject, broker = application.called("workers"), application.called("broker")
        return [Finding(subject, False, f"unknown: the {broker} does not answer", "fix that")]
    slots = {one.method.route.queue: one.slots for one in consumers.values() if one.slots}
    return [
        Finding(application.called(f"queue {queue}"), True, f"{counted(count, 'task')} at a time")
        for queue, count in sorted(slots.items())
    ] + [
        Finding(
            f"method {name}",
            problem.kind is ProblemKind.UNSURE_RESULT_BACKEND,
            problem.description,
            problem.fix,
        )
        for name, one in consumers.items()
        for problem in one.problems
    ]
