"""What is listed as a problem, and how often backends are asked for it."""

from __future__ import annotations

import asyncio
from typing import cast

from forebay.v1 import calls_pb2 as pb
from forebay.v1.calls_pb2 import MethodProblemKind
from forebay_gateway.admin.problems import Problems, problems_of_methods
from forebay_gateway.rpc.context import Context

ANYONE = cast(Context, None)
"""The RPC does not look at its caller: the guard has."""


def served(name: str, queue: str, *kinds: str) -> pb.ServedMethod:
    problems = [
        pb.MethodProblem(
            kind=MethodProblemKind.Value(f"METHOD_PROBLEM_KIND_{kind}"),
            description=f"{kind} of {name}",
            fix="fix it",
        )
        for kind in kinds
    ]
    return pb.ServedMethod(name=name, queue=queue, problems=problems)


def test_a_queue_without_a_worker_is_listed_once_before_problems_of_methods() -> None:
    methods = [
        served("a.A", "text", "OTHER_VERSION"),
        served("a.B", "math", "NO_CONSUMER"),
        served("a.C", "math", "NO_CONSUMER"),
        served("a.D", "fine"),
        served("a.E", "art", "NO_CONSUMER"),
    ]
    found = [(one.subject, one.description) for one in problems_of_methods(methods)]
    assert found == [
        ("queue art", "no live worker consumes it"),
        ("queue math", "no live worker consumes it"),
        ("method a.A", "OTHER_VERSION of a.A"),
    ]


async def test_many_callers_ask_the_backends_once() -> None:
    asked = 0

    async def source() -> list[pb.Problem]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return [pb.Problem(subject="ledger", description="does not answer", fix="start it")]

    problems = Problems()
    problems.sources.append(source)
    request = pb.ListProblemsRequest()
    answers = await asyncio.gather(*(problems.list_problems(request, ANYONE) for _ in range(20)))
    assert asked == 1
    assert {one.problems[0].subject for one in answers} == {"ledger"}
    assert answers[0].read_time.seconds > 0
