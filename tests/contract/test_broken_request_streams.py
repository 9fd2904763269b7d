"""gRPC reports the end of a request stream that broke like that of a complete one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest

from forebay.errors import QueueFull
from forebay_gateway.admission.fair_share import FairShare
from forebay_gateway.admission.read_room import ReadRoom
from forebay_gateway.fronts.grpc.context import GrpcContext
from forebay_gateway.rpc.incoming import RequestStream
from forebay_gateway.rpc.message_reads import MessageReads

PATH = "/tests.Uploads/Upload"
MIB = 1 << 20
CALLS = 20
UNWINDING_S = 0.1


class Uploads(grpc.GenericRpcHandler):
    """Reads requests in a task of its own, and takes a while to unwind when it is cancelled.

    So does the gateway when a cancel finds it within a command of its ledger client.
    """

    def __init__(self) -> None:
        self.complete: list[int] = []
        self.broken = 0
        self._reads = MessageReads(ReadRoom(FairShare(MIB), 1), _full, 1.0)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.stream_stream_rpc_method_handler(self._upload)

    async def _upload(
        self, _: AsyncIterator[bytes], servicer_context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> None:
        context = GrpcContext(servicer_context)
        requests = RequestStream(context, self._reads, "caller", lambda _: None)
        reading = asyncio.create_task(self._read(requests))
        try:
            await context.write(b"begun")
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.sleep(UNWINDING_S)
            self.broken += not reading.done()
            raise
        finally:
            reading.cancel()

    async def _read(self, requests: RequestStream) -> None:
        self.complete.append(len([request async for request in requests]))


def _full(*_: object) -> QueueFull:
    return QueueFull("no room", 1.0)


@contextlib.asynccontextmanager
async def serving(uploads: Uploads) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((uploads,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize("ending", ["cancel", "close"])
async def test_a_broken_stream_does_not_end_however_slowly_its_rpc_unwinds(ending: str) -> None:
    uploads = Uploads()
    async with serving(uploads) as address:
        for _ in range(CALLS):
            channel = grpc.aio.insecure_channel(address)
            call = channel.stream_stream(PATH)()
            await call.write(b"1")
            assert await call.read() == b"begun"
            if ending == "cancel":
                call.cancel()
            await channel.close()
        async with asyncio.timeout(60):
            while uploads.broken + len(uploads.complete) < CALLS:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert (uploads.complete, uploads.broken) == ([], CALLS)


async def test_a_complete_stream_ends() -> None:
    uploads = Uploads()
    async with serving(uploads) as address, grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(PATH)()
        for _ in range(3):
            await call.write(b"1")
        await call.done_writing()
        assert await call.read() == b"begun"
        assert await call.code() is grpc.StatusCode.OK
    assert uploads.complete == [3]
