"""Findings and routes as tables, lines and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from forebay.cli.tables import show, show_json
from forebay.v1.calls_pb2 import MethodProblemKind, ServedMethod
from forebay_gateway.cli.finding import Finding
from forebay_gateway.cli.served_methods import is_known

ROUTES = ("method", "task", "queue", "policy", "requires", "consumers", "problems")
_KIND = "METHOD_PROBLEM_KIND_"


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """A line for each finding, and a line with the fix below each problem."""
    if as_json:
        show_json(map(asdict, findings))
        return
    console = Console()
    for finding in findings:
        mark = Text("ok     ", "green") if finding.good else Text("problem", "bold red")
        console.print(mark, Text(f"{finding.subject}: {finding.description}"), soft_wrap=True)
        if finding.fix:
            console.print(Text(f"        fix: {finding.fix}"), soft_wrap=True)


def show_routes(methods: Sequence[ServedMethod], *, as_json: bool) -> None:
    """A row for each method: its route, the slots of its live workers, and their problems."""
    if as_json:
        show_json(map(_route_json, methods))
    else:
        show(Console(), ROUTES, map(_route_row, methods))


def _route_row(method: ServedMethod) -> tuple[str, ...]:
    problems = "; ".join(problem.description for problem in method.problems)
    return (
        *(method.name, method.task, method.queue, method.policy, method.requires),
        *(str(method.slots) if is_known(method) else "unknown", problems or "none"),
    )


def _route_json(method: ServedMethod) -> dict[str, object]:
    known = is_known(method)
    return {
        "method": method.name,
        "task": method.task,
        "queue": method.queue,
        "policy": method.policy,
        "requires": method.requires,
        "consumers": method.slots if known else None,
        "workers": list(method.workers) if known else None,
        "problems": [
            {
                "kind": MethodProblemKind.Name(problem.kind).removeprefix(_KIND),
                "workers": list(problem.workers),
                "description": problem.description,
                "fix": problem.fix,
            }
            for problem in method.problems
        ],
    }
