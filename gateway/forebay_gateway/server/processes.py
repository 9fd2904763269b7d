"""A gateway as several processes that share its port: Linux spreads connections over them.

This process spawns them, never forks, and runs no gRPC itself. It restarts a process that
ends; they end with this process, even if it is killed.

Shutdown order: all get SIGTERM at once, and each drains as a single gateway does. SIGUSR1 skips
their lame-duck time.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from forebay_backends.process.memory import collect_rarely
from forebay_backends.settings import Settings
from forebay_gateway.server.child_process import ChildProcess
from forebay_gateway.server.gateway import running_gateway
from forebay_gateway.server.lame_duck import SKIP_LAME_DUCK, LameDuck
from forebay_gateway.server.port import reserved_port
from forebay_gateway.server.supervisor import SupervisedProcess, restarted, started

_STOP_AFTER_DRAIN_S = 10.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def running_gateways(
    settings: Settings, lame_duck: LameDuck | None = None
) -> AsyncIterator[str]:
    """Like `running_gateway`, in as many processes as the settings say.

    The port of `web_listen` was reserved for them (`web_port.py`).

    Raises GatewayError, in an exception group, if one of them can't start.
    """
    if settings.processes == 1:
        async with running_gateway(settings, lame_duck=lame_duck) as address:
            collect_rarely()
            yield address
        return
    with reserved_port(settings.listen) as address:
        async with _admin_port(settings) as admin_addresses:
            processes = [
                _gateway_process(number + 1, settings, address, admin_address)
                for number, admin_address in enumerate(admin_addresses)
            ]
            async with started(processes), restarted(processes):
                yield address
                _share_lame_duck(lame_duck or LameDuck(0.0), processes)


def _share_lame_duck(lame_duck: LameDuck, processes: Sequence[SupervisedProcess]) -> None:
    """Skips the lame-duck time of the processes when that of this one is skipped."""

    def skip() -> None:
        for process in processes:
            process.send_signal(SKIP_LAME_DUCK)

    lame_duck.on_over.append(skip)
    if lame_duck.is_over:
        skip()


@asynccontextmanager
async def _admin_port(settings: Settings) -> AsyncIterator[list[str]]:
    """The address for each process's operators; empty strings without the setting."""
    if settings.admin_listen is None:
        yield [""] * settings.processes
        return
    from forebay_gateway.server.admin_port import admin_port_of_processes

    async with admin_port_of_processes(settings) as (address, addresses):
        _log.info("metrics and probes on %s", address)
        yield addresses


def _gateway_process(
    number: int, settings: Settings, address: str, admin_address: str
) -> SupervisedProcess:
    backends = settings.backends()
    child = ChildProcess(
        "forebay_gateway.cli.gateway_process",
        str(number),
        # Flags of the command line may have set these.
        env={
            "FOREBAY_LISTEN": address,
            "FOREBAY_ADMIN_LISTEN": admin_address,
            "FOREBAY_WEB_LISTEN": settings.web_listen or "",
            "FOREBAY_LEDGER_URL": backends.ledger_url,
            "FOREBAY_BROKER_URL": backends.broker_url,
            "FOREBAY_PROCESSES": str(settings.processes),
            "FOREBAY_SERVICES": json.dumps(settings.services),
            "FOREBAY_ROUTES": str(settings.routes or ""),
            "FOREBAY_INSECURE": str(settings.insecure),
            "FOREBAY_LOG_LEVEL": settings.log_level,
            "FOREBAY_LOG_FORMAT": settings.log_format,
        },
    )
    stop_s = settings.lame_duck_s + settings.drain_s + _STOP_AFTER_DRAIN_S
    return SupervisedProcess(
        f"gateway process {number}", child, [(signal.SIGTERM, stop_s)], reports_ready=True
    )
