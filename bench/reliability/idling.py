"""The gateway's memory for each stream that waits for a worker."""

from __future__ import annotations

import asyncio

import grpc
import psutil

from bench.reliability.systems import EchoSystem, echo_system
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually

_A_CONNECTION = 100
"""Streams on one connection: servers should allow at least 100 (RFC 9113, 6.5.2)."""
_KB = 1e3


def idle(count: int) -> str:
    """Opens `count` streams that no worker answers; reports the gateway's memory for each."""
    with echo_system() as system:
        asyncio.run(_held(system, 20))  # warm-up: objects that are created once exist now
        before, peak = asyncio.run(_held(system, count))
    return (
        f"{count} streams, each waiting: {(peak - before) / count / _KB:.1f} kB each in the "
        f"gateway ({before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB with them)"
    )


async def _held(system: EchoSystem, count: int) -> tuple[int, int]:
    gateway = psutil.Process(system.gateway.popen.pid)
    before = gateway.memory_info().rss
    channels = [
        # Without a subchannel pool of its own, each channel would use the same connection.
        grpc.aio.insecure_channel(system.address, options=(("grpc.use_local_subchannel_pool", 1),))
        for _ in range(-(-count // _A_CONNECTION))
    ]
    calls = [
        EchoServiceStub(channels[n // _A_CONNECTION]).ServerStream(EchoRequest(count=1))
        for n in range(count)
    ]
    await asyncio.gather(*(call.initial_metadata() for call in calls))
    peak = gateway.memory_info().rss
    for call in calls:
        call.cancel()
    for channel in channels:
        await channel.close()
    await asyncio.to_thread(
        eventually, lambda: _waiting(system) == 0, "the ledger has heard of all", 60.0
    )
    return before, peak


def _waiting(system: EchoSystem) -> int:
    return sum(int(system.ledger.zcard(key)) for key in system.ledger.scan_iter("*:waiting:*"))
