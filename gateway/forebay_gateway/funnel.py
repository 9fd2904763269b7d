"""One funnel for every call: metadata, deadline, checks, admission, accept, deliver, status.

What follows admission is in `durable.py`, for calls that are records in the ledger,
and in `ephemeral.py`, for those that live in this process. The gateway parses
requests, to check them, and never a response.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc

from forebay.checks import CheckFactory, NoCheck
from forebay.deadline import Deadline
from forebay.errors import DeadlineExceeded, ForebayError, InternalFault
from forebay.routes import Method
from forebay_gateway.admission import Admission
from forebay_gateway.durable import DurableCalls
from forebay_gateway.ephemeral import EphemeralCalls
from forebay_gateway.incoming import Context, Incoming, Requests, receive
from forebay_gateway.metadata import read_wishes
from forebay_gateway.status import abort

_log = logging.getLogger(__name__)


class Funnel:
    """Serves calls of every routed method. One object a gateway."""

    def __init__(
        self,
        admission: Admission,
        checks: dict[str, CheckFactory],
        durable: DurableCalls,
        ephemeral: EphemeralCalls,
        max_message_bytes: int,
    ) -> None:
        self._admission = admission
        self._checks = checks
        self._durable = durable
        self._ephemeral = ephemeral
        self._max_message_bytes = max_message_bytes

    def handler(self, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What a server calls for the method. Messages are passed as bytes."""

        async def unary_request(request: bytes, context: Context) -> bytes | None:
            return await self._serve(method, _one(request), context)

        async def stream_request(requests: Requests, context: Context) -> bytes | None:
            return await self._serve(method, aiter(requests), context)

        behavior: Any = stream_request if method.client_streaming else unary_request
        match method.client_streaming, method.server_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(behavior)
            case False, True:
                return grpc.unary_stream_rpc_method_handler(behavior)
            case True, False:
                return grpc.stream_unary_rpc_method_handler(behavior)
            case _:
                return grpc.stream_stream_rpc_method_handler(behavior)

    async def _serve(self, method: Method, requests: Requests, context: Context) -> bytes | None:
        try:
            incoming = await self._receive(method, requests, context)
            with self._admission.admit():
                if method.route.ephemeral and incoming.wishes.call_id is None:
                    return await self._ephemeral.serve(incoming, context)
                return await self._durable.serve(incoming, context)
        except ForebayError as error:
            await abort(context, error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception:
            _log.exception("%s failed in the gateway", method.name)
            await abort(context, InternalFault("the gateway failed; its log says how"))

    async def _receive(self, method: Method, requests: Requests, context: Context) -> Incoming:
        wishes = read_wishes(context.invocation_metadata() or (), method.route)
        deadline = Deadline.after(context.time_remaining())
        if deadline.passed:
            raise DeadlineExceeded("the deadline passed before the call came in")
        check = self._checks.get(method.name, NoCheck)()
        return await receive(method, wishes, deadline, requests, check, self._max_message_bytes)


async def _one(request: bytes) -> Requests:
    yield request
