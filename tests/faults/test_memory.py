"""One caller sends bursts of large messages, compressed or not: the gateway's memory is bounded."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from forebay_gateway.admission.read_room import IDLE_AFTER_S
from forebay_gateway.server.memory_guard import SLACK_BYTES
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import eventually
from tests.process_costs import ProcessCosts, gateway_alone

MIB = 1 << 20
MAX_HELD_BYTES = 128 * MIB
CALLS = 60
IDLE_CALLS = 200
"""800 MB if they all were received at once."""
IDLE_PEAK_BYTES = MAX_HELD_BYTES + SLACK_BYTES
if os.environ.get("FOREBAY_FRONT") == "grpc":  # it ends idle calls only after they began to send
    IDLE_PEAK_BYTES *= 2
HELD_S = 3.0
LEGAL_BYTES, REFUSED_BYTES = 4_000_000, 15_000_000
RETURNED_WITHIN_S = 30.0
RETURNED_TO_BYTES = 100_000_000
"""Above the memory before the first burst of all tests, so that what each keeps adds up."""
TIMEOUT_S = 60.0
BURSTS, MANY_BURSTS = 2, 10
ACCEPTED = {"DEADLINE_EXCEEDED", "UNAVAILABLE"}
"""No worker runs calls, and a loaded machine may send their messages too slowly."""
PATH = "/tests.echo.v1.EchoService"
PLAIN, GZIP = grpc.Compression.NoCompression, grpc.Compression.Gzip
CASES = [
    ("Unary", LEGAL_BYTES, PLAIN, BURSTS),
    ("Unary", REFUSED_BYTES, GZIP, BURSTS),
    ("Quick", LEGAL_BYTES, GZIP, BURSTS),
    ("Quick", REFUSED_BYTES, PLAIN, BURSTS),
    pytest.param("Unary", LEGAL_BYTES, GZIP, MANY_BURSTS, marks=pytest.mark.variant),
    pytest.param("Unary", REFUSED_BYTES, PLAIN, BURSTS, marks=pytest.mark.variant),
    pytest.param("Quick", LEGAL_BYTES, PLAIN, BURSTS, marks=pytest.mark.variant),
    pytest.param("Quick", REFUSED_BYTES, GZIP, BURSTS, marks=pytest.mark.variant),
]


@dataclass(frozen=True)
class Site:
    """A gateway without workers: its memory, now and before any burst, and its address."""

    memory: ProcessCosts
    before: int
    address: str


@pytest.fixture(scope="module")
def gateway() -> Iterator[Site]:
    with gateway_alone(
        FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]', FOREBAY_MAX_HELD_BYTES=str(MAX_HELD_BYTES)
    ) as (memory, address):
        yield Site(memory, memory.rss_bytes, address)


def channel(address: str) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    return grpc.insecure_channel(address, options=options)


def burst(address: str, method: str, size: int, compression: grpc.Compression) -> Counter[str]:
    """Calls with one request each, at once; the statuses and how many calls had each."""
    request = EchoRequest(text="x" * size).SerializeToString()
    with channel(address) as one:
        call = one.stream_stream(f"{PATH}/{method}")
        limits: Any = {"compression": compression, "timeout": TIMEOUT_S}
        if size == LEGAL_BYTES:
            limits["timeout"] = HELD_S
        calls = [call(iter([request]), **limits) for _ in range(CALLS)]
        return Counter(each.code().name for each in calls)


@pytest.mark.parametrize(("method", "size", "compression", "bursts"), CASES)
def test_bursts_use_bounded_memory_and_release_it(
    gateway: Site, method: str, size: int, compression: grpc.Compression, bursts: int
) -> None:
    memory, before = gateway.memory, gateway.before
    with memory.sampled():
        for _ in range(bursts):
            statuses = burst(gateway.address, method, size, compression)
            expected = {"RESOURCE_EXHAUSTED"}
            if size == LEGAL_BYTES:
                expected |= ACCEPTED
            assert set(statuses) <= expected
    assert memory.peak_rss_bytes - before < MAX_HELD_BYTES + SLACK_BYTES
    eventually(
        lambda: memory.rss_bytes < before + RETURNED_TO_BYTES,
        "the memory is returned",
        RETURNED_WITHIN_S,
    )


@pytest.mark.variant
@pytest.mark.parametrize("compression", [PLAIN, GZIP], ids=["plain", "gzip"])
def test_idle_calls_that_send_at_once_wait_for_room(
    gateway: Site, compression: grpc.Compression
) -> None:
    memory = gateway.memory
    send = threading.Event()
    request = EchoRequest(text="x" * LEGAL_BYTES).SerializeToString()

    def requests() -> Iterator[bytes]:
        send.wait(TIMEOUT_S)
        yield request

    with channel(gateway.address) as one:
        call = one.stream_stream(f"{PATH}/Quick")
        calls = [call(requests(), timeout=20, compression=compression) for _ in range(IDLE_CALLS)]
        time.sleep(2 * IDLE_AFTER_S)  # a caller can't observe that its read counts as idle
        with memory.sampled():
            send.set()
            statuses = Counter(each.code().name for each in calls)
    assert set(statuses) <= {"RESOURCE_EXHAUSTED", *ACCEPTED}
    assert memory.peak_rss_bytes - gateway.before < IDLE_PEAK_BYTES
