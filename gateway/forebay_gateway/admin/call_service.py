"""`forebay.v1.CallService`: lists methods, queues and workers; reads calls' items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib.metadata import version

from forebay.errors import BackendUnavailable, Draining, ItemsLost
from forebay.routes import Method
from forebay.v1 import calls_pb2 as pb
from forebay_backends.broker.base import Broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending, Item, ItemsStored
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.inspection import Backlog, ObservedCall, observe
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.admin.call_names import name_of
from forebay_gateway.admin.fleet_messages import length, queue_message, stamp, worker_message
from forebay_gateway.admin.observers import Observers
from forebay_gateway.admin.operation_messages import response_of, served_method
from forebay_gateway.admin.operations import found
from forebay_gateway.admin.task_rates import TaskRates
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.audit.entry import Event
from forebay_gateway.durable.item_sequence import items_per_fetch
from forebay_gateway.durable.watches import LEASE_CHECK_INTERVAL_S
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.fleet.queue_backlogs import read_backlogs
from forebay_gateway.fleet.worker_problems import Consumers, consumers_of
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, server_streaming, unary

SERVICE = "forebay.v1.CallService"


class CallService:
    """Serves the RPCs that `google.longrunning.Operations` lacks."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        fleet: FleetMonitor,
        methods: Mapping[str, Method],
        observers: Observers,
        rates: TaskRates,
        channel: str,
        plain_consumers_of: Callable[[Method], Consumers],
        expected_wait_s: Callable[[str], float | None],
        access: CallAccess,
    ) -> None:
        self._access = access
        self._ledger = ledger
        self._broker = broker
        self._fleet = fleet
        self._methods = methods
        self._observers = observers
        self._rates = rates
        self._channel = channel
        self._plain_consumers_of = plain_consumers_of
        self._expected_wait_s = expected_wait_s
        self._version = version("forebay")

    def own_methods(self) -> dict[str, OwnMethod]:
        """The methods of the service, by their paths."""
        methods = {
            "ListMethods": unary(pb.ListMethodsRequest, self.list_methods),
            "ListQueues": unary(pb.ListQueuesRequest, self.list_queues),
            "ListWorkers": unary(pb.ListWorkersRequest, self.list_workers),
            "ReadItems": server_streaming(pb.ReadItemsRequest, self.read_items),
        }
        return by_path(SERVICE, methods)

    async def list_methods(
        self, request: pb.ListMethodsRequest, context: Context
    ) -> pb.ListMethodsResponse:
        """Every method with a route, and its workers; raises BackendUnavailable."""
        if not self._fleet.workers_are_known:
            raise BackendUnavailable(
                "the ledger does not answer, so the gateway has no list of workers",
                retry_after_s=RETRY_AFTER_S,
            )
        await self._fleet.refresh()  # the caller may have started a worker just now
        return pb.ListMethodsResponse(methods=self.methods())

    def methods(self) -> list[pb.ServedMethod]:
        """Every method, and the workers as of the last health check."""
        return [
            served_method(self._consumers_of(method)) for _, method in sorted(self._methods.items())
        ]

    def _consumers_of(self, method: Method) -> Consumers:
        if method.is_plain:
            return self._plain_consumers_of(method)
        return consumers_of(method, self._fleet.workers, self._version)

    async def list_workers(
        self, request: pb.ListWorkersRequest, context: Context
    ) -> pb.ListWorkersResponse:
        """Every live worker and what it runs; raises BackendUnavailable."""
        await self._fleet.refresh()
        caller = context.principal.tenant

        def names_of(keys: Sequence[str]) -> list[str]:
            calls = map(CallKey.parse, keys)
            reached = (call for call in calls if self._access.reaches(context, call.owner))
            return [name_of(call, caller) for call in reached]

        method_of_task = {method.route.task: method.name for method in self._methods.values()}
        return pb.ListWorkersResponse(
            workers=[
                worker_message(worker, method_of_task, names_of)
                for worker in sorted(self._fleet.workers, key=lambda one: one.worker)
            ],
            read_time=stamp(self._fleet.ledger_time_ms(0.0)),
        )

    async def list_queues(
        self, request: pb.ListQueuesRequest, context: Context
    ) -> pb.ListQueuesResponse:
        """Every queue of a method that is not a plain task."""
        return pb.ListQueuesResponse(queues=await self.queues())

    async def queues(self) -> list[pb.Queue]:
        """Reads the queues, in order of name; raises BackendUnavailable."""
        methods = [method for method in self._methods.values() if not method.is_plain]
        queues = sorted({method.route.queue for method in methods})
        backlogs = await read_backlogs(self._ledger, self._broker, queues)
        return [
            self._queue(name, found.messages, found.durable) for name, found in backlogs.items()
        ]

    async def read_items(
        self, request: pb.ReadItemsRequest, context: Context
    ) -> AsyncIterator[pb.ReadItemsResponse]:
        """The call's items from `first` on; with `follow`, also those that are emitted later."""
        method = f"{SERVICE}/ReadItems"
        call = self._access.call(request.name, context, Event.READ, method)
        ordinal = request.first
        with self._observers.open(call, Item, ItemsStored, Ending) as observer:
            while True:
                observed = found(await self._ledger.run(observe(call, self._channel)))
                self._ledger.seals.check_observed(call, observed)
                if ordinal > observed.count:
                    raise ItemsLost(f"the call has {observed.count} items; there is no {ordinal}")
                while ordinal < observed.count:
                    for payload in await self._fetch(call, ordinal, observed):
                        item = response_of(observed.method, payload, self._methods)
                        yield pb.ReadItemsResponse(ordinal=ordinal, item=item)
                        ordinal += 1
                if observed.state.terminal or not request.follow:
                    return
                if self._observers.is_draining:
                    raise Draining(
                        f"the gateway is shutting down; read on from item {ordinal} at another",
                        retry_after_s=RETRY_AFTER_S,
                    )
                await observer.wait(LEASE_CHECK_INTERVAL_S)

    async def _fetch(self, call: CallKey, ordinal: int, observed: ObservedCall) -> list[bytes]:
        """At least one item; raises ItemsLost if the ledger no longer keeps it."""
        most = items_per_fetch(observed.count, observed.sent)
        count = min(observed.count - ordinal, most)
        items = await self._ledger.items(call, ordinal, count)
        found_at = [at for at, _ in items]
        if not items or found_at != list(range(ordinal, ordinal + len(items))):
            raise ItemsLost(f"items from {ordinal} on of this call are no longer in the ledger")
        return [payload for _, payload in items]

    def _queue(self, name: str, depth: int, backlog: Backlog) -> pb.Queue:
        methods = [
            method
            for method in self._methods.values()
            if method.route.queue == name and not method.application  # these have other brokers
        ]
        queue = queue_message(name, methods, self._fleet.workers, backlog)
        queue.depth = depth
        queue.begun_per_second = self._rates.per_second({method.route.task for method in methods})
        expected_wait = length(self._expected_wait_s(name))
        if expected_wait is not None:
            queue.expected_wait.CopyFrom(expected_wait)
        return queue
