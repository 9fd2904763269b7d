"""What a call needs, looked at from outside: for `forebay doctor` and `forebay routes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis import exceptions as redis_errors
from rich.console import Console
from rich.text import Text

from forebay.cli.tables import show
from forebay.errors import BackendUnavailable
from forebay.routes import Method
from forebay_backends.broker.dispatcher import dispatcher
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.presence import WorkerPresence, consumed_queues, live_workers
from forebay_backends.settings import RPC, Settings
from forebay_backends.urls import redacted
from forebay_gateway.fleet.worker_problems import ProblemKind, consumers_of, start_worker

_ANSWER_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is and, where it is not good, how to mend it."""

    what: str
    good: bool
    description: str
    fix: str = ""


async def present(settings: Settings) -> Sequence[WorkerPresence] | None:
    """The live workers; None where the ledger does not answer."""
    ledger = Ledger(settings.backends().ledger_url)
    try:
        return await live_workers(ledger)
    except BackendUnavailable:
        return None
    finally:
        await ledger.close()


async def examine(settings: Settings, methods: Sequence[Method]) -> list[Finding]:
    """Looks at ledger, broker, result backend, workers and gateway, those that are needed."""
    ours = [method for method in methods if not method.is_plain]
    findings = [await _ledger(settings)] if ours else []
    findings.append(await _broker(settings))
    if len(ours) < len(methods) and settings.result_url != RPC:
        findings.append(await _result_backend(settings.result_url))
    if ours:
        findings += _workers(ours, await present(settings))
    return [*findings, await _gateway(settings)]


async def _ledger(settings: Settings) -> Finding:
    url = settings.backends().ledger_url
    ledger = Ledger(url)
    try:
        info = await ledger.within_timeout(ledger.redis.info())
        policy = await ledger.within_timeout(
            ledger.redis.config_get("maxmemory-policy", "appendonly", "appendfsync")
        )
        await ledger.ping()
    except BackendUnavailable as error:
        return Finding("ledger", False, *_trouble(url, error))
    finally:
        await ledger.close()
    version = info.get("valkey_version") or info.get("redis_version")
    durable = policy.get("appendonly") == "yes"
    how = f"{redacted(url)}, version {version}, append-only file " + (
        f"synced {policy.get('appendfsync')}" if durable else "off"
    )
    if policy.get("maxmemory-policy") != "noeviction":
        return Finding(
            "ledger", False, f"{how}; it evicts keys", "set `maxmemory-policy noeviction` there"
        )
    if not durable:
        return Finding(
            "ledger", False, f"{how}: a restart loses calls", "set `appendonly yes` there"
        )
    return Finding("ledger", True, how)


_FIX = {
    redis_errors.OutOfMemoryError: "raise `maxmemory` there, or lower FOREBAY_RETENTION_BYTES",
    redis_errors.ReadOnlyError: "name the primary in FOREBAY_LEDGER_URL, or promote this server",
    redis_errors.MasterDownError: "bring its primary back, or promote this server",
    redis_errors.ResponseError: "mend what it says; Forebay goes on by itself when it takes writes",
}


def _trouble(url: str, error: BackendUnavailable) -> tuple[str, str]:
    """What keeps a server from being used, and how to mend it."""
    how = f"{redacted(url)} {error.message.removeprefix('the ledger ')}: {error.__cause__}"
    for sign, fix in _FIX.items():
        if isinstance(error.__cause__, sign):
            return how, fix
    return how, "start `forebay up`, or set FOREBAY_LEDGER_URL to a Redis or Valkey that runs"


async def _broker(settings: Settings) -> Finding:
    backends = settings.backends()
    ledger = Ledger(backends.ledger_url)
    broker = dispatcher(backends, ledger)
    shown = redacted(backends.broker_url)
    try:
        await broker.ping()
    except BackendUnavailable as error:
        return Finding(
            "broker",
            False,
            f"{shown} does not answer: {error.__cause__}",
            "start it, or set FOREBAY_BROKER_URL to one that runs",
        )
    finally:
        await broker.close()
        await ledger.close()
    return Finding(
        "broker", True, f"{shown}, the ledger's server" if backends.broker_is_ledger else shown
    )


async def _result_backend(url: str) -> Finding:
    server = Ledger(url)
    try:
        await server.ping()
    except BackendUnavailable as error:
        fix = "start it, or set FOREBAY_RESULT_URL to the application's result_backend"
        how = f"{redacted(url)} does not answer: {error.__cause__}"
        return Finding("result backend", False, how, fix)
    finally:
        await server.close()
    return Finding("result backend", True, redacted(url))


def _workers(methods: Sequence[Method], workers: Sequence[WorkerPresence] | None) -> list[Finding]:
    """One for each queue, and one for each thing else that is wrong with a method's workers."""
    if workers is None:
        return [Finding("workers", False, "unknown: the ledger does not answer", "mend the ledger")]
    slots = consumed_queues(workers)
    queues = [
        Finding(f"queue {queue}", True, f"{slots[queue]} calls at a time")
        if queue in slots
        else Finding(
            f"queue {queue}",
            False,
            "no live worker consumes it",
            start_worker(queue),
        )
        for queue in sorted({method.route.queue for method in methods})
    ]
    return queues + [
        Finding(f"method {method.name}", False, problem.description, problem.fix)
        for method in methods
        for problem in consumers_of(method, workers, version("forebay")).problems
        if problem.trouble is not ProblemKind.NO_CONSUMER
    ]


async def _gateway(settings: Settings) -> Finding:
    async with grpc.aio.insecure_channel(settings.listen) as channel:
        try:
            answer = await _health_stub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_ANSWER_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            return Finding(
                "gateway",
                False,
                f"{settings.listen} does not answer: {error.code().name}",
                "start `forebay gateway` or `forebay up`, or say where it is with --listen",
            )
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    fix = "" if serving else "mend ledger and broker; it recovers by itself"
    return Finding("gateway", serving, f"{settings.listen}, {name}", fix)


def _health_stub(channel: grpc.aio.Channel) -> Any:  # types-grpcio-health-checking lacks it
    return health_pb2_grpc.HealthStub(channel)


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """A line for each finding, and one below it on how to mend it."""
    for finding in findings:
        mark = Text("ok     ", "green") if finding.good else Text("problem", "bold red")
        console.print(mark, Text(f"{finding.what}: {finding.description}"), soft_wrap=True)
        if finding.fix:
            console.print(Text(f"        mend: {finding.fix}"), soft_wrap=True)


def show_routes(
    console: Console, methods: Sequence[Method], workers: Sequence[WorkerPresence] | None
) -> None:
    """A row for each method: its route, the slots of its live workers, and what is wrong there."""
    show(
        console,
        ("method", "task", "queue", "policy", "consumers", "problems"),
        [
            (
                *(method.name, method.route.task, method.route.queue, policy(method)),
                *_live(method, workers),
            )
            for method in methods
        ],
    )


def policy(method: Method) -> str:
    """A method's policy in words."""
    route = method.route
    kept = "ephemeral" if route.ephemeral else "durable"
    words = [
        kept if not method.is_plain else "plain task",
        "may run again" if method.may_run_again else "runs once",
    ]
    if route.detach:
        words.append("outlives its caller")
    if route.deterministic:
        words.append("deterministic")
    if route.transient:
        words.append(f"{route.transient} is live only")
    return ", ".join(words)


def _live(method: Method, workers: Sequence[WorkerPresence] | None) -> tuple[str, str]:
    if method.is_plain:
        return "its application's", "none"
    if workers is None:
        return "unknown", "the ledger does not answer"
    found = consumers_of(method, workers, version("forebay"))
    return str(found.slots), "; ".join(problem.description for problem in found.problems) or "none"
