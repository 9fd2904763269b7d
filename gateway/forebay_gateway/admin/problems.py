"""`forebay.v1.CallService/ListProblems`: what is wrong with the gateway and its surroundings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from forebay.v1 import calls_pb2 as pb
from forebay.v1.calls_pb2 import MethodProblemKind, ServedMethod
from forebay_gateway.admin.call_service import SERVICE
from forebay_gateway.admin.fleet_messages import stamp
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, unary

FRESH_S = 10.0
"""The backends are asked at most once in this time, however many callers there are."""

Source = Callable[[], Awaitable[Iterable[pb.Problem]]]
"""Looks for problems; never fails because a backend does not answer."""


class Problems:
    """Serves the RPC. `sources` are added before the first one; theirs is the order."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._latest = pb.ListProblemsResponse()

    def own_methods(self) -> dict[str, OwnMethod]:
        """The method, by its path."""
        methods = {"ListProblems": unary(pb.ListProblemsRequest, self.list_problems)}
        return by_path(SERVICE, methods)

    async def list_problems(
        self, request: pb.ListProblemsRequest, context: Context
    ) -> pb.ListProblemsResponse:
        """The problems as of at most `FRESH_S` ago."""
        async with self._lock:
            if time.monotonic() - self._read_at >= FRESH_S:
                found = [problem for source in self.sources for problem in await source()]
                self._latest = pb.ListProblemsResponse(
                    problems=found, read_time=stamp(time.time() * 1000)
                )
                self._read_at = time.monotonic()
            return self._latest


def problems_of_methods(methods: Sequence[ServedMethod]) -> list[pb.Problem]:
    """One for each queue without a worker, and one for each other problem of a method. Pure."""
    queues: dict[str, pb.Problem] = {}
    others: list[pb.Problem] = []
    for method in methods:
        for problem in method.problems:
            if problem.kind == MethodProblemKind.METHOD_PROBLEM_KIND_NO_CONSUMER:
                queues[method.queue] = pb.Problem(
                    subject=f"queue {method.queue}",
                    description="no live worker consumes it",
                    fix=problem.fix,
                )
            else:
                others.append(
                    pb.Problem(
                        subject=f"method {method.name}",
                        description=problem.description,
                        fix=problem.fix,
                    )
                )
    return [*(queues[name] for name in sorted(queues)), *others]
