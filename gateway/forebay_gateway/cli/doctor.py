"""Checks of everything that a call needs, for `forebay doctor` and `forebay routes`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from redis import exceptions as redis_errors

from forebay.cli.connection import Problem
from forebay.cli.target import Target
from forebay.errors import BackendUnavailable
from forebay.routes import Method
from forebay.v1.calls_pb2 import ServedMethod
from forebay_backends.broker.amqp_errors import fix_of
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.permissions import permission_fix
from forebay_backends.ledger.presence import WorkerPresence, live_workers
from forebay_backends.ledger.server_check import read_server_info, url_problem
from forebay_backends.settings import CeleryApplication, Settings
from forebay_backends.urls import AmqpServer, RedisServer, redacted
from forebay_gateway.cli.backend_tls import refused_certificate, verification_fix
from forebay_gateway.cli.certificate_checks import certificate_findings
from forebay_gateway.cli.end_task_checks import end_task_findings
from forebay_gateway.cli.finding import Finding
from forebay_gateway.cli.gateway_checks import examined_gateways, problems_not_found
from forebay_gateway.cli.plain_checks import (
    consumers_of_application,
    known_applications,
    plain_findings,
)
from forebay_gateway.cli.served_methods import served_methods
from forebay_gateway.cli.signing_checks import signing_finding
from forebay_gateway.cli.trials import try_amqp_broker, try_ledger, try_redis_broker
from forebay_gateway.cli.worker_checks import worker_findings
from forebay_gateway.plain.brokers.base import PlainResults
from forebay_gateway.plain.brokers.choice import make_results
from forebay_gateway.server.methods import applications_of, needs_main_broker

_SILENT = "does not answer"
_BACKENDS = ("ledger", "broker", "result backend")
_OTHER_SETTINGS = "if the gateway has other settings than these, name its file in FOREBAY_CONFIG"


async def find_workers(settings: Settings) -> Sequence[WorkerPresence] | None:
    """The live workers; None if the ledger does not answer."""
    ledger = Ledger(settings.backends().ledger)
    try:
        return await live_workers(ledger)
    except BackendUnavailable:
        return None
    finally:
        await ledger.close()


async def examine(
    settings: Settings,
    methods: Sequence[Method],
    target: Target,
    served: Sequence[ServedMethod] | None = None,
    unreachable: Mapping[str, Problem] = MappingProxyType({}),
) -> list[Finding]:
    """Checks ledger, broker, result backend, workers and gateway, as far as `methods` need them.

    `served` is what the gateways at `target` know of the workers; None: the ledger tells.
    `unreachable` are those that did not answer just now, by address.
    """
    ours = [method for method in methods if not method.is_plain]
    queues = sorted({method.route.queue for method in ours})
    findings = [await _checked("ledger", _ledger(settings))] if ours else []
    if needs_main_broker(methods):
        note = ", the ledger's server" if settings.backends().broker_is_ledger else ""
        control = settings.obeys_remote_control
        broker = _broker(settings.application(), queues, note, remote_control=control)
        findings.append(await _checked("broker", broker))
    findings += await _applications(settings, methods)
    if ours:
        workers = await find_workers(settings)
        signing = signing_finding(settings, workers or ())
        findings += [] if signing is None else [signing]
        if served is None:
            served = served_methods(ours, workers, {})
        names = {method.name for method in ours}
        findings += worker_findings([method for method in served if method.name in names])
        findings += await end_task_findings(settings, ours, workers or ())
    silent = [address for address, problem in unreachable.items() if not problem.is_of_tls]
    gateways, certificates = await asyncio.gather(
        examined_gateways(target, unreachable),
        asyncio.to_thread(certificate_findings, settings, target, silent),
    )
    if all(gateway.health.good for gateway in gateways):
        findings = [_with_other_settings(finding) for finding in findings]
    reported = [problem for gateway in gateways for problem in gateway.reported]
    return [
        *findings,
        *(gateway.health for gateway in gateways),
        *problems_not_found(reported, [*findings, *certificates]),
        *(note for gateway in gateways for note in gateway.notes),
        *certificates,
    ]


def _with_other_settings(finding: Finding) -> Finding:
    """The gateways reach the backend, so the cause of its problem may be the wrong settings."""
    if finding.good or not finding.subject.startswith(_BACKENDS):
        return finding
    return replace(finding, fix=f"{finding.fix}; {_OTHER_SETTINGS}")


async def _checked(subject: str, check: Coroutine[Any, Any, Finding]) -> Finding:
    """The check's finding; an error that it does not expect is a finding too."""
    try:
        return await check
    except Exception as error:
        description = redacted(f"can't be used: {type(error).__name__}: {error}")
        return Finding(subject, False, description, "check its URL and its settings")


async def _ledger(settings: Settings) -> Finding:
    server = settings.backends().ledger
    ledger = Ledger(server)
    try:
        problem = await url_problem(server)
        if problem is not None:
            return Finding("ledger", False, problem, "set FOREBAY_LEDGER_URL to that")
        info = await read_server_info(ledger)
        await try_ledger(ledger, server)
    except BackendUnavailable as error:
        return Finding("ledger", False, *(await _problem(server, error)))
    finally:
        await ledger.close()
    description = f"{server.shown}, version {info.version or 'unknown'}, append-only file " + (
        "unknown (the server does not show its settings)"
        if info.append_only is None
        else f"synced {info.append_fsync}"
        if info.append_only
        else "off"
    )
    if info.problem is None:
        return Finding("ledger", True, description)
    problem, fix = info.problem
    return Finding("ledger", False, f"{description}; {problem}", fix)


_FIXES = {
    redis_errors.OutOfMemoryError: "raise `maxmemory` there, or lower FOREBAY_RETENTION_BYTES",
    redis_errors.ReadOnlyError: "name the primary in FOREBAY_LEDGER_URL, or promote this server",
    redis_errors.MasterDownError: "bring its primary back, or promote this server",
    redis_errors.AuthenticationError: "correct the user and the password in the URL",
    redis_errors.ResponseError: "fix what the server reports; Forebay then goes on by itself",
}


async def _problem(
    server: RedisServer | AmqpServer,
    error: BackendUnavailable,
    setting: str = "FOREBAY_LEDGER_URL",
) -> tuple[str, str]:
    """Why the server can't be used, and how to fix that."""
    state = error.message.removeprefix("the ledger ").removeprefix("the broker ")
    refused = await refused_certificate(server, setting) if state == _SILENT else None
    if refused is not None:
        return refused
    description = f"{server.shown} {state}: {redacted(str(error.__cause__))}"
    is_ledger = setting == "FOREBAY_LEDGER_URL"
    fix = (
        verification_fix(error, setting)
        or fix_of(error.__cause__)
        or _acl_fix(server, error, is_ledger=is_ledger)
    )
    if fix is not None:
        return description, fix
    for kind, fix in _FIXES.items():
        if isinstance(error.__cause__, kind):
            return description, fix
    if is_ledger:
        return (
            description,
            "start `forebay up`, or set FOREBAY_LEDGER_URL to a Redis or Valkey that runs",
        )
    return description, f"start it, or set {setting} to one that runs"


def _acl_fix(
    server: RedisServer | AmqpServer, error: BackendUnavailable, *, is_ledger: bool
) -> str | None:
    # A broker's keys are the queues' names, and kombu's; all of them have the key prefix.
    prefix = server.key_prefix if isinstance(server, RedisServer) else ""
    return permission_fix(error.__cause__, f"{prefix}forebay:" if is_ledger else prefix)


async def _broker(
    application: CeleryApplication,
    queues: Sequence[str] = (),
    note: str = "",
    *,
    remote_control: bool = True,
) -> Finding:
    """The broker of an application; `note` is added to the address of one that works."""
    subject, where = application.called("broker"), application.broker
    setting = application.setting("broker_url")
    try:
        wrong = await _wrong_server(subject, where, setting)
        if wrong is not None:
            return wrong
        await _try_broker(where, queues, remote_control=remote_control)
    except BackendUnavailable as error:
        return Finding(subject, False, *(await _problem(where, error, setting)))
    return Finding(subject, True, f"{where.shown}{note}")


async def _wrong_server(
    subject: str, where: RedisServer | AmqpServer | None, setting: str
) -> Finding | None:
    """The finding about a Redis of another kind than its URL says; None for all others."""
    problem = await url_problem(where) if isinstance(where, RedisServer) else None
    return None if problem is None else Finding(subject, False, problem, f"set {setting} to that")


async def _try_broker(
    where: RedisServer | AmqpServer, queues: Sequence[str], *, remote_control: bool
) -> None:
    if isinstance(where, RedisServer):
        await try_redis_broker(where, queues, remote_control=remote_control)
    else:
        await try_amqp_broker(where, queues)


async def _applications(settings: Settings, methods: Sequence[Method]) -> list[Finding]:
    """The applications of plain tasks; a gateway may have some that these settings lack."""
    known = known_applications(settings, methods)
    lacking = set(applications_of(methods)) - {application.name for application in known}
    description = "the gateway has it, and these settings don't"
    findings = [
        Finding(f"application {name}", False, description, _OTHER_SETTINGS)
        for name in sorted(lacking)
    ]
    found = await asyncio.gather(*(_application(each, methods) for each in known))
    return findings + [finding for several in found for finding in several]


async def _application(application: CeleryApplication, methods: Sequence[Method]) -> list[Finding]:
    """The result backend and workers of an application, and its broker if it has a name."""
    broker, backend = application.called("broker"), application.called("result backend")
    findings = []
    if application.name:
        findings.append(await _checked(broker, _broker(application)))
    results = make_results(application)
    if results is not None:
        findings.append(await _checked(backend, _result_backend(application, results)))
    return findings + plain_findings(
        application, await consumers_of_application(application, methods)
    )


async def _result_backend(application: CeleryApplication, server: PlainResults) -> Finding:
    subject, where = application.called("result backend"), application.result_server
    shown = redacted(application.result_url) if where is None else where.shown
    try:
        wrong = await _wrong_server(subject, where, application.setting("result_url"))
        if wrong is not None:
            return wrong
        await server.ping()
    except BackendUnavailable as error:
        setting = application.setting("result_url")
        refused = None if where is None else await refused_certificate(where, setting)
        if refused is not None:
            return Finding(subject, False, *refused)
        fix = verification_fix(error, setting) or (
            f"start it, or set {setting} to the application's result_backend"
        )
        return Finding(subject, False, f"{shown} {_SILENT}: {error.__cause__}", fix)
    finally:
        await server.close()
    return Finding(subject, True, shown)
