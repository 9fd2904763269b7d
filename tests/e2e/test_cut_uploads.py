"""Interrupted request streams: they continue if sent again, and never count as complete."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import grpc
import pytest

from forebay_backends.ledger.keys import CallKey
from tests.e2e.conftest import ROOT, Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually

TIMEOUT_S = 60.0
COUNT = 20
TEXT = "".join(chr(ord("a") + number) for number in range(COUNT))

UPLOAD = """
import sys, time, grpc
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

def requests():
    for _ in range(3):
        yield EchoRequest(text="x")
    time.sleep(600)
stub = EchoServiceStub(grpc.insecure_channel(sys.argv[1]))
stub.ClientStream(requests(), metadata=(("forebay-call-id", sys.argv[2]),))
"""


def requests() -> Iterator[EchoRequest]:
    return (EchoRequest(text=letter) for letter in TEXT)


def received(site: Site, call_id: str, count: int) -> bool:
    """Whether the ledger has that many requests of the call."""
    return int(site.field(call_id, "request_count") or 0) >= count


def test_another_gateway_keeps_receiving(site: Site) -> None:
    metadata = (("forebay-call-id", "half"),)
    held = threading.Event()

    def half() -> Iterator[EchoRequest]:
        yield from list(requests())[:10]
        held.wait(TIMEOUT_S)

    first, second = site.targets(2)
    with grpc.insecure_channel(first) as one, grpc.insecure_channel(second) as other:
        future = EchoServiceStub(one).ClientStream.future(half(), metadata=metadata)
        eventually(lambda: received(site, "half", 10), "ten requests are received")
        whole = EchoServiceStub(other).ClientStream(
            requests(), timeout=TIMEOUT_S, metadata=metadata
        )
        held.set()
        assert future.result(timeout=TIMEOUT_S).text == TEXT
    assert (whole.text, whole.index) == (TEXT, COUNT)


@pytest.mark.parametrize("attempt", range(3))
def test_the_upload_of_a_caller_that_dies_is_incomplete(site: Site, attempt: int) -> None:
    name = f"cut-off-{attempt}"
    (address,) = site.targets(1)
    caller = subprocess.Popen([sys.executable, "-c", UPLOAD, address, name], cwd=ROOT)
    try:
        eventually(lambda: received(site, name, 3), "three requests are received")
    finally:
        caller.kill()
        caller.wait()
    call = CallKey(name)
    eventually(lambda: bool(site.field(name, "abandoned_at")), "the gateway notices")
    assert site.field(name, "state") == "RECEIVING"
    assert site.ledger.xlen(f"{call.partition}:inputs:{call}") == 3


def test_a_cancelled_upload_is_incomplete(site: Site) -> None:
    held = threading.Event()

    def some() -> Iterator[EchoRequest]:
        yield from list(requests())[:3]
        held.wait(TIMEOUT_S)

    with grpc.insecure_channel(*site.targets(1)) as channel:
        metadata = (("forebay-call-id", "cancelled"),)
        future = EchoServiceStub(channel).ClientStream.future(some(), metadata=metadata)
        eventually(lambda: received(site, "cancelled", 3), "three requests are received")
        future.cancel()
        held.set()
        eventually(lambda: bool(site.field("cancelled", "abandoned_at")), "the gateway notices")
    assert site.field("cancelled", "state") == "RECEIVING"
