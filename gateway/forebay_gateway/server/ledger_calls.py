"""The parts of a gateway that use the ledger: durable and ephemeral calls, admin, the fleet."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, get_args

from forebay.errors import BackendUnavailable
from forebay.routes import Method
from forebay.v1.calls_pb2 import Problem
from forebay_backends.broker.base import make_broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.expected_clock import ExpectedClock
from forebay_backends.ledger.frames import BatchHeartbeat, CallEvent, Ending, Lost, Reply
from forebay_backends.ledger.keys import gateway_channel
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.ledger.pubsub import FIRST_SUBSCRIPTION_S
from forebay_backends.ledger.replication import Replicas
from forebay_backends.ledger.seals import Seals
from forebay_backends.metrics.registry import Figures
from forebay_backends.settings import Settings
from forebay_backends.signing.keyring import Keyring
from forebay_gateway.admin.operation_calls import OperationCalls
from forebay_gateway.admin.services import AdminOptions, AdminServices
from forebay_gateway.durable.calls import DurableCalls
from forebay_gateway.durable.watches import Watches
from forebay_gateway.ephemeral.calls import EphemeralCalls
from forebay_gateway.fair_queues.fair_queues import FairQueues
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.fleet.queue_backlogs import read_backlogs
from forebay_gateway.fleet.route_warnings import watch_routes
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.uuid7 import uuid7
from forebay_gateway.scaling.queues import LedgerQueues
from forebay_gateway.server.end_task_warnings import watch_end_tasks
from forebay_gateway.server.figures import queue_figures, running_calls
from forebay_gateway.server.security_problems import signing_problems

_log = logging.getLogger(__name__)


class LedgerCalls:
    """One per gateway that serves durable or ephemeral methods.

    `methods` are all methods of the gateway, since CallService lists plain ones, too.
    """

    def __init__(
        self,
        settings: Settings,
        methods: Sequence[Method],
        metrics: GatewayMetrics,
        admin: AdminOptions,
    ) -> None:
        self._methods = methods
        self._application = settings.application()
        self._is_counting = metrics.counts_rpcs
        self._has_tenants = settings.auth.is_on or bool(settings.tenants)
        backends = settings.backends()
        self._keyring = settings.keyring(metrics.message_refused)
        self._ledger = _ledger(settings, self._keyring, metrics)
        self.broker = make_broker(backends, self._ledger)
        queues = {method.route.queue for method in methods if not method.is_plain}
        self.fleet = FleetMonitor(
            self._ledger, self.broker, queues, settings.retention_bytes, metrics
        )
        self.queues = LedgerQueues(self._ledger, self.broker, self.fleet)
        self.fair = FairQueues(settings.tenants, self.fleet.slots)
        self.channel = gateway_channel(f"{socket.gethostname()}.{os.getpid()}.{uuid7()}")
        backend_parts = (self._ledger, self.broker, self.fleet, self.channel)
        self.ephemeral = EphemeralCalls(settings, *backend_parts, metrics, self.fair)
        self.admin = AdminServices(*backend_parts, methods, metrics.rpc_seconds, admin)
        self.admin.problems.sources.append(self._signing_problems)
        self._watches = Watches(self._ledger, backends.ledger, self.channel)
        self.listen_to = self._watches.listen_to
        self.listen_to(Reply, BatchHeartbeat, Lost, on_frame=self.ephemeral.on_frame)
        self.listen_to(*get_args(CallEvent), on_frame=self.admin.observers.on_event)
        self.ready = self._watches.subscribed
        """Returns when the channel of call events is subscribed; raises BackendUnavailable."""
        self.fleet.health.add("ledger's pub/sub", self._watches.subscribed)
        self.run_small = Pipeliner(self._ledger).run
        self.durable = DurableCalls(
            *(settings, self._ledger, self.broker, self._watches, self.fleet.slots, metrics),
            *(self.fair, queues, self._has_tenants),
        )
        self.delayed = self.durable.delayed
        if self._has_tenants:
            self.listen_to(Ending, on_frame=self.durable.held.on_frame)
        self.operations = OperationCalls(self.durable, self.admin.operations)
        metrics.read_process.append(self._process_figures)
        metrics.read_fleet.append(partial(self._fleet_figures, sorted(queues)))

    def loops(
        self, on_health: Callable[[bool], Awaitable[None]]
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """The coroutines that run as long as the gateway does."""
        yield self._watches.listen()
        yield self._watches.renew_periodically()
        if self._keyring.is_on:
            yield self._watches.confirm_events()
            yield self._keyring.watch()
        yield self.ephemeral.run()
        yield self.fleet.health.run(on_health)
        yield self.fleet.reap()
        if self._has_tenants:
            yield self.fair.run()
            yield self.durable.held.run()
        yield self.delayed.run()
        yield self.admin.watch_rates()
        if self._is_counting:
            yield self.admin.watch_activity()
        yield watch_routes(self._methods, self.fleet, version("forebay"))
        if any(method.route.on_end is not None for method in self._methods):
            yield watch_end_tasks(self._methods, self.fleet, self._application)

    def _process_figures(self) -> Figures:
        health = self.fleet.health
        return {
            "forebay_ledger_up": {(): health.answers("ledger")},
            "forebay_broker_up": {(): health.answers("broker")},
            "forebay_watches": {(): self._watches.count},
        }

    async def _signing_problems(self) -> list[Problem]:
        workers = self.fleet.workers if self.fleet.workers_are_known else ()
        return signing_problems(self._keyring, workers)

    async def _fleet_figures(self, queues: Sequence[str]) -> Figures:
        try:
            backlogs = await read_backlogs(self._ledger, self.broker, queues)
        except BackendUnavailable:
            return {}  # `forebay_ledger_up` and `forebay_broker_up` report the outage
        tasks = {one.route.task: one.name for one in self._methods if not one.is_plain}
        return {
            **queue_figures(backlogs, self.fleet),
            **running_calls(self.fleet.workers, tasks),
        }

    async def subscribed(self) -> None:
        """Waits for the subscription to call events; gives up after 5 s without a ledger."""
        try:
            await self._watches.subscribed(FIRST_SUBSCRIPTION_S)
        except BackendUnavailable:
            _log.warning(
                "the ledger does not answer; the gateway serves, and keeps trying to connect"
            )

    def abort_remaining(self) -> None:
        """Aborts the remaining RPCs; clients can resume them at another gateway."""
        self.admin.abort_remaining()
        self.durable.abort_remaining()
        self.ephemeral.abort_remaining()

    async def join(self) -> None:
        """Waits for the background work of calls that are over."""
        await self.durable.join()

    async def close(self) -> None:
        await self.broker.close()
        await self._ledger.close()


def _ledger(settings: Settings, keyring: Keyring, metrics: GatewayMetrics) -> Ledger:
    return Ledger(
        settings.backends().ledger,
        replicas=Replicas(settings.ledger_min_replicas, settings.ledger_replica_timeout_s),
        observe=metrics.ledger if metrics.is_on else None,
        seals=Seals(keyring),
        clock=ExpectedClock(),
    )
