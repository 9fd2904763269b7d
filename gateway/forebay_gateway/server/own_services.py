"""Bounds the requests of the gateway's own services: health, reflection, the admin services."""

from __future__ import annotations

from forebay.errors import QueueFull
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.admission.caller_identity import caller_of
from forebay_gateway.admission.fair_share import FairShare
from forebay_gateway.admission.read_room import ReadRoom
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.incoming import RequestStream
from forebay_gateway.rpc.message_reads import MessageReads
from forebay_gateway.rpc.own_methods import OwnMethod

_MESSAGES = 16
"""They don't count for `max_held_bytes`: health checks succeed while that is used up."""


def own_service_reads(message_bytes: int, wait_s: float) -> MessageReads:
    """Room for 16 of the largest messages."""

    def full(caller: str, size: int) -> QueueFull:
        return QueueFull(
            "the gateway receives too many requests of its own services",
            retry_after_s=RETRY_AFTER_S,
            quota="bytes held",
        )

    return MessageReads(ReadRoom(FairShare(_MESSAGES * message_bytes), message_bytes), full, wait_s)


def bounded(method: OwnMethod, reads: MessageReads) -> Handler:
    """Serves the method with bounded reads."""

    async def serve(context: Context) -> bytes | None:
        caller = caller_of(context.peer(), context.principal.tenant)
        return await method.serve(RequestStream(context, reads, caller, lambda _: None), context)

    return Handler(serve, method.streams_responses)
