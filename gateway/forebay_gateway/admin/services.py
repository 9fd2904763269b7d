"""The services that look at calls and rule over them, put together.

Whoever reaches them may read and cancel everybody's calls. So, while there is no
authorization, they are open where only this host can reach them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

import grpc

from forebay.errors import MethodUnknown
from forebay.routes import Method
from forebay_backends.broker.dispatcher import Dispatcher
from forebay_backends.ledger.client import Ledger
from forebay_gateway.admin import call_service as calls_service
from forebay_gateway.admin import operations
from forebay_gateway.admin.call_service import CallService
from forebay_gateway.admin.observers import Observers
from forebay_gateway.admin.operations import Operations
from forebay_gateway.admin.task_rates import TaskRates
from forebay_gateway.durable.watches import Watches
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.rpc.incoming import Context
from forebay_gateway.rpc.status import abort

SERVICES = (operations.SERVICE, calls_service.SERVICE)

_SAMPLE_EVERY_S = 1.0


class AdminServices:
    """Operations and CallService of a gateway; closed where not `is_open`."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        fleet: FleetMonitor,
        watches: Watches,
        methods: Sequence[Method],
        *,
        is_open: bool,
    ) -> None:
        self._is_open = is_open
        self._fleet = fleet
        self._rates = TaskRates()
        self._observers = Observers()
        by_name = {method.name: method for method in methods}
        self._operations = Operations(ledger, by_name, self._observers, watches.channel)
        self._calls = CallService(
            ledger, dispatcher, fleet, by_name, self._observers, self._rates, watches.channel
        )
        watches.on_event = self._observers.on_event

    @property
    def services(self) -> tuple[str, ...]:
        """The services that are open: for health and reflection."""
        return SERVICES if self._is_open else ()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """What a server serves."""
        if self._is_open:
            return [self._operations.handler(), self._calls.handler()]
        return [_Closed()]

    async def watch_rates(self) -> None:
        """Counts what the workers begin, until cancelled."""
        while True:
            self._rates.observe(
                time.monotonic(),
                {worker.worker: worker.begun for worker in self._fleet.workers},
            )
            await asyncio.sleep(_SAMPLE_EVERY_S)

    def cut(self) -> None:
        """Ends all waiting: the gateway shuts down."""
        self._observers.cut()


class _Closed(grpc.GenericRpcHandler):
    """Says why a service is not open."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        service = handler_call_details.method.strip("/").partition("/")[0]
        if service not in SERVICES:
            return None

        async def refuse(requests: AsyncIterator[bytes], context: Context) -> None:
            await abort(
                context,
                MethodUnknown(
                    f"{service} is open only where the gateway listens on a loopback address, "
                    "since there is no authorization yet; run one with --listen 127.0.0.1:PORT"
                ),
            )

        behavior: Callable[..., object] = refuse
        return grpc.stream_stream_rpc_method_handler(behavior)
