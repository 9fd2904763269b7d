"""Findings and routes as tables and lines on a console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from rich.console import Console
from rich.text import Text

from forebay.cli.tables import show
from forebay.routes import Method
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.cli.finding import Finding
from forebay_gateway.fleet.worker_problems import Consumers, consumers_of


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """A line for each finding, and a line with the fix below each problem."""
    for finding in findings:
        mark = Text("ok     ", "green") if finding.good else Text("problem", "bold red")
        console.print(mark, Text(f"{finding.subject}: {finding.description}"), soft_wrap=True)
        if finding.fix:
            console.print(Text(f"        fix: {finding.fix}"), soft_wrap=True)


def show_routes(
    console: Console,
    methods: Sequence[Method],
    workers: Sequence[WorkerPresence] | None,
    plain: Mapping[str, Consumers],
) -> None:
    """A row for each method: its route, the slots of its live workers, and their problems."""
    show(
        console,
        ("method", "task", "queue", "policy", "consumers", "problems"),
        [
            (
                *(method.name, method.route.task, method.route.queue, policy(method)),
                *_consumers(method, workers, plain),
            )
            for method in methods
        ],
    )


def policy(method: Method) -> str:
    """Example: "durable, may run again, outlives its caller"."""
    route = method.route
    kind = "ephemeral" if route.ephemeral else "durable"
    words = [
        kind if not method.is_plain else _plain_task(method),
        "may run again" if method.may_run_again else "runs once",
    ]
    if route.detach:
        words.append("outlives its caller")
    if route.deterministic:
        words.append("deterministic")
    if route.transient:
        words.append(f"{route.transient} is live only")
    return ", ".join(words)


def _plain_task(method: Method) -> str:
    return f"plain task of {method.application}" if method.application else "plain task"


def _consumers(
    method: Method,
    workers: Sequence[WorkerPresence] | None,
    plain: Mapping[str, Consumers],
) -> tuple[str, str]:
    if method.is_plain:
        if method.name not in plain:
            return "unknown", "the broker does not answer"
        found = plain[method.name]
    elif workers is None:
        return "unknown", "the ledger does not answer"
    else:
        found = consumers_of(method, workers, version("forebay"))
    return str(found.slots), "; ".join(problem.description for problem in found.problems) or "none"
