"""The limits of a gateway: of its calls and bytes, of its queues, of its own services' reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.admission.admission import Admission
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.admission.queue_monitor import QueueMonitor
from forebay_gateway.admission.read_room import ReadRoom
from forebay_gateway.fronts.limits import largest_request_bytes
from forebay_gateway.rpc.incoming import RequestLimits
from forebay_gateway.rpc.message_reads import MessageReads
from forebay_gateway.rpc.policy import queue_wait_s, request_limit_bytes
from forebay_gateway.server.call_handler import CallLimits
from forebay_gateway.server.ledger_calls import LedgerCalls
from forebay_gateway.server.own_services import own_service_reads

if TYPE_CHECKING:
    from forebay_gateway.plain.calls import PlainCalls


def limits_of_queues(methods: Sequence[Method], max_depth: int) -> dict[str, QueueLimits]:
    """The limits of queues by application, because each application has its own broker."""
    queues: dict[str, set[str]] = {}
    for method in methods:
        queues.setdefault(method.application, set()).add(method.route.queue)
    return {name: QueueLimits(names, max_depth) for name, names in queues.items()}


def limits_of_calls(settings: Settings, queues: Mapping[str, QueueLimits]) -> CallLimits:
    admission = Admission(settings.max_calls, settings.max_held_bytes)
    room = ReadRoom(admission.bytes, largest_request_bytes(settings.max_message_bytes))
    return CallLimits(
        admission,
        MessageReads(room, admission.full_of_bytes, settings.first_request_s),
        queues,
        RequestLimits(
            settings.max_message_bytes,
            settings.first_request_s,
            partial(request_limit_bytes, settings=settings),
        ),
        partial(queue_wait_s, settings=settings),
        settings.max_eta_of,
    )


def reads_of_own_services(settings: Settings) -> MessageReads:
    message_bytes = largest_request_bytes(settings.max_message_bytes)
    return own_service_reads(message_bytes, settings.first_request_s)


def monitor_of_queues(
    application: str,
    queues: QueueLimits,
    methods: Sequence[Method],
    ledger_calls: LedgerCalls | None,
    plain: PlainCalls | None,
) -> QueueMonitor:
    """Watches the queues of one broker: a silent broker delays no samples of the others."""
    queue_of_task = {
        method.route.task: method.route.queue
        for method in methods
        if method.application == application
    }
    ours = None if application else ledger_calls  # workers of other applications don't report
    brokers = [calls.broker for calls in (ours, plain) if calls is not None]
    workers = (lambda: ours.fleet.workers) if ours is not None else tuple
    return QueueMonitor(queues, brokers[0], workers, queue_of_task)
