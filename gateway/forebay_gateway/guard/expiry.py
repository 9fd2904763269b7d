"""Ends an RPC when the identity of its caller expires."""

from __future__ import annotations

import asyncio
import time

from forebay.errors import Unauthenticated
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.status import abort

_EXPIRED = "the token has expired; go on with a fresh one, by the id of the call"


async def serve_until_expired(handler: Handler, context: Context) -> bytes | None:
    """Serves the RPC; ends it with UNAUTHENTICATED when the caller's token expires.

    The handler is then cancelled, as if the caller had disconnected: the call goes on by its
    policy, and the caller can attach to it with a fresh token.
    """
    expires_at = context.principal.expires_at
    if expires_at is None:
        return await handler.serve(context)
    left_s = expires_at - time.time()
    until_deadline_s = context.time_remaining()
    if until_deadline_s is not None and until_deadline_s < left_s:
        return await handler.serve(context)
    try:
        async with asyncio.timeout(left_s) as expiry:
            return await handler.serve(context)
    except TimeoutError as error:
        if not expiry.expired():
            raise
        if context.code is not None:  # the status is on its way
            raise asyncio.CancelledError from error
        await abort(context, Unauthenticated(_EXPIRED))
