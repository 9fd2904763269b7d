"""Asks an application's workers for their queues and tasks, over a separate connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.settings import CeleryApplication
from forebay_gateway.plain.brokers.base import listening
from forebay_gateway.plain.brokers.celery_messages import Reply
from forebay_gateway.plain.brokers.choice import make_plain_broker
from forebay_gateway.plain.inspection import PlainWorkers

_CONNECT_TIMEOUT_S = 5.0
_MAX_REPLY_BYTES = 4 << 20


@asynccontextmanager
async def asked_workers(application: CeleryApplication) -> AsyncIterator[PlainWorkers]:
    """The workers, not yet inspected; raises BackendUnavailable or TimeoutError."""
    reply_queue = f"forebay.reply.inspect-{os.urandom(8).hex()}"
    workers: PlainWorkers

    def on_reply(reply: Reply) -> None:
        workers.on_reply(reply)

    broker = make_plain_broker(application, reply_queue, on_reply)
    workers = PlainWorkers(broker, reply_queue, application, _MAX_REPLY_BYTES)
    reading = asyncio.create_task(broker.listen())
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await listening(broker)
        yield workers
    finally:
        await cancel_all([reading])
        await broker.close()
