"""Answers of gateways to `forebay doctor`: health, their own problems, the caller's identity."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.channels import aio_dial
from forebay.cli.connection import CONNECT_OPTIONS, Problem, why_unavailable
from forebay.cli.target import Target
from forebay.resume.targets import read_targets
from forebay.rpc_errors import of_rpc_error
from forebay.v1.calls_pb2 import ListProblemsRequest, ListProblemsResponse
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_gateway.cli.finding import Finding
from forebay_gateway.cli.identity_checks import identity_finding

_TIMEOUT_S = 2.0
_MAY_NOT = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
_NOT_THERE = "start `forebay gateway` or `forebay up`, or give its address with --target"


class Examined(NamedTuple):
    """A gateway's health and, if it answers, the problems that it reports.

    `notes` are about this caller: its identity, and that the gateway does not tell it its problems.
    """

    health: Finding
    reported: Sequence[Finding] = ()
    notes: Sequence[Finding] = ()


async def examined_gateways(
    target: Target, unreachable: Mapping[str, Problem]
) -> Sequence[Examined]:
    """All gateways at the target, at once; those that are `unreachable` are not tried again."""
    return await asyncio.gather(
        *(
            _examined(address, target, unreachable.get(address))
            for address in read_targets(target.addresses)
        )
    )


async def _examined(address: str, target: Target, problem: Problem | None) -> Examined:
    status = problem or await _status(address, target)
    if isinstance(status, Problem):
        return Examined(_unreachable(address, status))
    serving = status == health_pb2.HealthCheckResponse.SERVING
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
    fix = "" if serving else "fix ledger and broker; the gateway then recovers by itself"
    health = Finding("gateway", serving, f"{address}, {name}", fix)
    (reported, silence), identity = await asyncio.gather(
        _problems(address, target), identity_finding(address, target)
    )
    notes = [note for note in (silence, identity) if note is not None]
    return Examined(health, reported, notes)


async def _problems(address: str, target: Target) -> tuple[list[Finding], Finding | None]:
    """The problems that the gateway reports, or a finding that it does not report them."""
    async with aio_dial(address, target.credentials(), target.token(), ()) as channel:
        stub = CallServiceStub(channel)
        try:
            listed: ListProblemsResponse = await stub.ListProblems(
                ListProblemsRequest(), timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return [], None  # an older gateway, or one without CallService
            silence = f"{address} does not tell you its problems: {error.code().name}"
            if error.code() in _MAY_NOT:
                return [], Finding("gateway", True, silence)
            return [], Finding("gateway", False, silence, "see the log of the gateway")
    return [Finding(one.subject, False, one.description, one.fix) for one in listed.problems], None


def problems_not_found(reported: Iterable[Finding], found: Sequence[Finding]) -> Iterator[Finding]:
    """The problems that gateways report, each once, without those that a check has `found`, too."""
    for one in dict.fromkeys(reported):
        same_subject = [finding for finding in found if finding.subject == one.subject]
        if not any(one.description in finding.description for finding in same_subject):
            yield replace(one, description=f"{one.description} (the gateway says so)")


def _unreachable(address: str, problem: Problem) -> Finding:
    fix = "give the options that it asks for" if problem.is_of_tls else _NOT_THERE
    return Finding("gateway", False, f"{address} does not answer: {problem.text}", fix)


async def _status(address: str, target: Target) -> int | Problem:
    """The gateway's ServingStatus, or why there is none."""
    async with aio_dial(address, target.credentials(), None, CONNECT_OPTIONS) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # types-grpcio-health-checking lacks it
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                details = error.details() or ""
                return await asyncio.to_thread(why_unavailable, details, address, target)
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Problem(f"no answer within {_TIMEOUT_S:g} s")
            return Problem(str(of_rpc_error(error)))
    status: int = answer.status
    return status
