"""Request streams of the client in clients/node survive broken connections and ended gateways."""

from __future__ import annotations

import threading
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from forebay.compute.v1 import compute_pb2 as pb
from tests.cut_connections import first_connection_cut
from tests.e2e.conftest import Site
from tests.e2e.test_node_client import node_client
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import eventually
from tests.matrices import exact
from tests.node_client import NodeCall, node_call
from tests.web_clients import descriptor_set

__all__ = ("node_client",)

LETTERS = "abcdefghijklmnopqrst"
COUNT, LENGTH = 600, 2000


def received(site: Site, call_id: str, count: int) -> None:
    """Waits until the ledger has at least that many requests of the call."""
    eventually(
        lambda: int(site.field(call_id, "request_count") or 0) >= count, "requests are received"
    )


@pytest.mark.parametrize(
    ("method", "repeatable"),
    [
        pytest.param("ClientStream", False, id="kept"),
        pytest.param("ClientStream", True, id="repeatable", marks=pytest.mark.variant),
        pytest.param("Bidi", False, id="Bidi", marks=pytest.mark.variant),
    ],
)
def test_the_requests_of_a_stream_are_sent_again(
    site: Site, node_client: Path, method: str, repeatable: bool
) -> None:
    name = f"node-up-{method}-{repeatable}"
    targets = site.targets()
    with node_call(node_client, targets, method, call_id=name, repeatable=repeatable) as call:
        for number, letter in enumerate(LETTERS):
            if number == 10:
                received(site, name, 10)
                site.end_gateway_of(name)
            call.send(EchoRequest(text=letter))
        call.done_writing()
        text = "".join(response["text"] for response in call.responses())
    assert (call.end["code"], text) == ("Ok", LETTERS), call.end
    assert call.retries


@pytest.mark.variant
def test_a_product_is_right_when_its_gateway_ends_during_the_upload(
    site: Site, node_client: Path
) -> None:
    (node_client / "compute.binpb").write_bytes(descriptor_set(pb.DESCRIPTOR))
    compute = {"descriptors": "compute.binpb", "service": "forebay.compute.v1.ComputeService"}
    generator, name = np.random.default_rng(4), "node-product"
    a, b = exact(generator, 100, 80), exact(generator, 80, 100)
    left, right = (
        pb.Matrix(rows=len(one), cols=len(one[0]), dtype=pb.DATA_TYPE_FLOAT64) for one in (a, b)
    )
    with node_call(node_client, site.targets(), "MatMul", call_id=name, **compute) as call:
        call.send(pb.MatMulRequest(operands=pb.Operands(left=left, right=right)))
        call.send(pb.MatMulRequest(left_chunk=a.tobytes()))
        received(site, name, 2)
        site.end_gateway_of(name)
        call.send(pb.MatMulRequest(right_chunk=b.tobytes()))
        call.done_writing()
        panels = [response["panel"]["data"] for response in call.responses() if "panel" in response]
    product = np.frombuffer(b"".join(map(b64decode, panels))).reshape(100, 100)
    assert np.array_equal(product, a @ b)
    assert call.retries


def send_many(call: NodeCall) -> None:
    for _ in range(COUNT):
        call.send(EchoRequest(text="x" * LENGTH))


def arrived_once(call: NodeCall) -> None:
    """Ends the stream; its response has each request once."""
    call.done_writing()
    (response,) = call.responses()
    assert (len(response["text"]), response["index"]) == (COUNT * LENGTH, COUNT)
    assert call.retries


@pytest.mark.variant
def test_an_upload_continues_after_its_connection_was_cut(site: Site, node_client: Path) -> None:
    with (
        first_connection_cut(site.targets(1)[0], after_sent_bytes=COUNT * LENGTH // 2) as way,
        node_call(node_client, [way.address], "ClientStream") as call,
    ):
        send_many(call)
        arrived_once(call)
    assert way.connections == 2


@pytest.mark.variant
def test_an_upload_continues_when_its_gateway_ends_while_it_sends(
    site: Site, node_client: Path
) -> None:
    ending = threading.Thread(target=site.end_gateway_of, args=("node-flood",))
    with node_call(node_client, site.targets(), "ClientStream", call_id="node-flood") as call:
        ending.start()
        send_many(call)
        ending.join()
        arrived_once(call)


@pytest.mark.variant
def test_requests_that_throw_end_the_call(site: Site, node_client: Path) -> None:
    with node_call(node_client, site.targets(), "ClientStream") as call:
        call.send(EchoRequest(text="a"))
        call.fail()
        assert "no more" in call.failed()["message"]
    assert not call.retries


@pytest.mark.variant
@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
def test_a_stream_without_requests_is_served(site: Site, node_client: Path, method: str) -> None:
    with node_call(node_client, site.targets(), method) as call:
        call.done_writing()
        assert sum(int(response.get("index", 0)) for response in call.responses()) == 0
    assert call.end["code"] == "Ok"
