"""gRPC's own retries with the published service config, without our client."""

from __future__ import annotations

from contextlib import closing

import grpc
import pytest

from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.service_config import service_config
from tests.contract.lossy import lossy_link
from tests.e2e.conftest import Site
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

TIMEOUT_S = 30.0
ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


def channel(*addresses: str, config: str = "") -> grpc.Channel:
    options = [("grpc.service_config", config or service_config())]
    return grpc.insecure_channel("ipv4:" + ",".join(addresses), options=options)


def test_calls_are_retried_when_one_of_two_gateways_ends(site: Site) -> None:
    targets = site.targets()
    with channel(*targets) as both:
        stub = ComputeServiceStub(both)
        for number in range(20):
            if number == 10:
                site.end(targets[0])
            assert stub.Add(AddRequest(x=number, y=1), timeout=TIMEOUT_S).sum == number + 1


def test_a_retry_with_an_id_attaches_on_another_gateway(site: Site) -> None:
    config = service_config([ECHO], calls_have_ids=True)
    call_id = "by-grpc"
    with (
        lossy_link(site.url) as link,
        closing(Site(link.url)) as behind_link,
        channel(*behind_link.targets(), config=config) as both,
    ):
        stub, request = EchoServiceStub(both), EchoRequest(text="x")
        stub.Unary(request, timeout=TIMEOUT_S)  # loads the script into the server
        # gRPC retries, since no response has arrived; but the call is already in the ledger.
        link.lose_answer_to("calls/accept", then=lambda: behind_link.end_gateway_of(call_id))
        metadata = (("forebay-call-id", call_id),)
        future = stub.Unary.future(request, timeout=TIMEOUT_S, metadata=metadata)
        assert future.result().text == "x"
        assert link.lost.is_set()
        assert dict(future.initial_metadata())["forebay-attached"] != "new"


def test_the_pushback_of_a_stored_outcome_forbids_a_retry(site: Site) -> None:
    options = [("grpc.enable_retries", 0)]  # gRPC's retries would consume the pushback
    with (
        grpc.insecure_channel(*site.targets(1), options=options) as one,
        pytest.raises(grpc.RpcError) as raised,
    ):
        EchoServiceStub(one).Unary(EchoRequest(act="unavailable"), timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(raised.value.trailing_metadata())["grpc-retry-pushback-ms"] == "-1"
