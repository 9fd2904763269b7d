"""Bounds the requests of the gateway's own services: health, reflection, the admin services.

gRPC reads the request of a unary method before it calls the handler, for all calls at once. Here
each call reads it as a stream, with the others that have room.
"""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

import grpc

from forebay.errors import ForebayError, InvalidRequest, QueueFull
from forebay_gateway.admission.caller_identity import caller_of
from forebay_gateway.admission.fair_share import FairShare
from forebay_gateway.admission.read_room import ReadRoom
from forebay_gateway.rpc.incoming import RequestStream
from forebay_gateway.rpc.message_reads import Context, MessageReads
from forebay_gateway.rpc.status import abort

_MESSAGES = 16
"""Apart from `max_held_bytes`, so that health checks succeed while that is used up."""
_RETRY_AFTER_S = 1.0


def own_service_reads(message_bytes: int, wait_s: float) -> MessageReads:
    """Room for 16 of the largest messages."""

    def full(caller: str, size: int) -> QueueFull:
        return QueueFull(
            "the gateway receives too many requests of its own services",
            retry_after_s=_RETRY_AFTER_S,
            quota="bytes held",
        )

    return MessageReads(ReadRoom(FairShare(_MESSAGES * message_bytes), message_bytes), full, wait_s)


class BoundedHandler(grpc.GenericRpcHandler):
    """`handler`, with bounded reads.

    Its methods take bytes; those with one request and many responses write them to the context.
    """

    def __init__(self, handler: grpc.GenericRpcHandler, reads: MessageReads) -> None:
        self._handler = handler
        self._reads = reads

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        found: Any = self._handler.service(handler_call_details)
        return None if found is None else self._bounded(found)

    def _bounded(self, found: Any) -> grpc.RpcMethodHandler[Any, Any]:
        behavior = found.unary_unary or found.unary_stream or found.stream_stream

        def requests(context: Context) -> RequestStream:
            return RequestStream(context, self._reads, caller_of(context.peer()), lambda _: None)

        async def request(context: Context) -> bytes:
            try:
                async for first in requests(context):
                    return first
                raise InvalidRequest("the request message is missing: the method takes one")
            except ForebayError as error:
                await abort(context, error)

        async def unary_unary(_: object, context: Context) -> Any:
            return await behavior(await request(context), context)

        async def unary_stream(_: object, context: Context) -> None:
            await behavior(await request(context), context)

        async def stream_stream(_: object, context: Context) -> None:
            answer = behavior(requests(context), context)
            if isawaitable(answer):  # it writes its responses itself, if it has any
                await answer
                return
            async for response in answer:
                await context.write(response)

        untyped: Any
        if found.unary_unary is not None:
            untyped = unary_unary
            return grpc.stream_unary_rpc_method_handler(
                untyped, response_serializer=found.response_serializer
            )
        untyped = unary_stream if found.unary_stream is not None else stream_stream
        return grpc.stream_stream_rpc_method_handler(
            untyped, response_serializer=found.response_serializer
        )
