"""The admin services of one gateway: `google.longrunning.Operations` and `CallService`.

Through them a caller can read and cancel the calls of others. So they are open only where the
gateway authenticates callers or listens on a loopback address. On the operators' port they are
always open.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client.registry import Collector

from forebay.errors import BackendUnavailable, MethodUnknown
from forebay.routes import Method
from forebay.v1 import calls_pb2 as pb
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.base import Broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.server_check import read_server_info
from forebay_gateway.admin import call_service, operations
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.admin.call_service import CallService
from forebay_gateway.admin.error_service import ErrorService
from forebay_gateway.admin.observers import Observers
from forebay_gateway.admin.operations import Operations
from forebay_gateway.admin.problems import Problems, problems_of_methods
from forebay_gateway.admin.process_service import ProcessService
from forebay_gateway.admin.siblings import Siblings
from forebay_gateway.admin.task_rates import TaskRates
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.fleet.worker_problems import Consumers
from forebay_gateway.rpc.own_methods import OwnMethod, refused

SERVICES = (operations.SERVICE, call_service.SERVICE)

_SAMPLE_INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdminOptions:
    """The functions and objects that the rest of the gateway gives the admin services."""

    is_open: bool
    """Whether callers reach them, besides operators."""
    access: CallAccess
    """Decides which callers reach the calls of other tenants."""
    siblings: Siblings
    """The other processes of the gateway."""
    plain_consumers_of: Callable[[Method], Consumers]
    """Finds the workers of a method that runs a plain task."""
    expected_wait_s: Callable[[str], float | None]
    """How long the next call of a queue would wait; None: not known yet."""


class AdminServices:
    """Builds the admin services of a gateway, and runs their background tasks."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        fleet: FleetMonitor,
        channel: str,
        methods: Sequence[Method],
        durations: Collector,
        options: AdminOptions,
    ) -> None:
        self._is_open = options.is_open
        access, siblings = options.access, options.siblings
        self._fleet = fleet
        self._rates = TaskRates()
        self.observers = Observers()
        by_name = {method.name: method for method in methods}
        self._returning_operations = [
            method.name for method in methods if method.operation is not None
        ]
        self.operations = Operations(ledger, by_name, self.observers, channel, access)
        self._calls = CallService(
            *(ledger, broker, fleet, by_name, self.observers, self._rates, channel),
            *(options.plain_consumers_of, options.expected_wait_s, access),
        )
        self._process = ProcessService(durations, by_name, self._calls.queues, siblings)
        self.errors = ErrorService(access, siblings)
        self.problems = Problems()
        self.problems.sources += [self._problems_of_backends, self._problems_of_methods]
        self._ledger = ledger

    @property
    def services(self) -> tuple[str, ...]:
        """The services that are open, for health and reflection."""
        return SERVICES if self._is_open else ()

    def own_methods(self, *, for_operators: bool = False) -> dict[str, OwnMethod]:
        """The methods of the services, by path. Where the services are closed, each explains why.

        They are always open `for_operators`.
        """
        methods = {
            path: method
            for part in (self.operations, self._calls, self._process, self.errors, self.problems)
            for path, method in part.own_methods().items()
        }
        is_open = self._is_open or for_operators
        return methods if is_open else {path: _closed(path) for path in methods}

    def warn_if_closed(self) -> None:
        """Warns if the operations that methods return can't be read at this gateway."""
        if self._returning_operations and not self._is_open:
            _log.warning(
                "%s %s operations, but callers can't read them here: %s is open only with [auth] "
                "or on a loopback address",
                ", ".join(self._returning_operations),
                "return" if len(self._returning_operations) > 1 else "returns",
                operations.SERVICE,
            )

    async def watch_activity(self) -> None:
        """Samples the calls and the queues, until cancelled."""
        await self._process.watch_activity()

    async def watch_rates(self) -> None:
        """Samples how many tasks the workers have begun, until cancelled."""

        async def sample() -> None:
            begun = {worker.worker: worker.begun for worker in self._fleet.workers}
            self._rates.observe(time.monotonic(), begun)

        await run_periodically(_SAMPLE_INTERVAL_S, sample, _log, "sampling task rates")

    def abort_remaining(self) -> None:
        """Ends the RPCs that wait for calls: the gateway is shutting down."""
        self.observers.drain()
        self._process.abort_remaining()

    async def _problems_of_backends(self) -> list[pb.Problem]:
        health = self._fleet.health
        problems = [
            pb.Problem(
                subject=backend,
                description="does not answer",
                fix=f"start it, or correct FOREBAY_{backend.upper()}_URL; `forebay doctor`, run "
                "with the gateway's settings, says more",
            )
            for backend in ("ledger", "broker")
            if not health.answers(backend)
        ]
        if not health.answers("ledger"):
            return problems
        try:
            found = (await read_server_info(self._ledger)).problem
        except BackendUnavailable:
            return problems  # the next health check reports it
        if found is not None:
            problems.append(pb.Problem(subject="ledger", description=found[0], fix=found[1]))
        return problems

    async def _problems_of_methods(self) -> list[pb.Problem]:
        # Without the ledger no worker is known; `_problems_of_backends` reports that.
        if not self._fleet.workers_are_known:
            return []
        return problems_of_methods(self._calls.methods())


def _closed(path: str) -> OwnMethod:
    service = path.strip("/").partition("/")[0]
    return refused(
        MethodUnknown(
            f"{service} is open only where the gateway knows its callers, by [auth], or listens "
            "on a loopback address: run another with --listen 127.0.0.1:PORT"
        )
    )
