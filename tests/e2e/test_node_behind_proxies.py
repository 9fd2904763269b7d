"""Calls of the client in clients/node survive the end of their gateway behind a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.e2e.conftest import Site
from tests.e2e.node_calls import (
    FORTY,
    INDICES,
    index,
    indices_while_the_gateway_ends,
    named,
    running,
    texts,
)
from tests.e2e.test_node_client import node_client
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.node_client import node_call
from tests.proxies import NAMES, READ_TIMEOUT_S, proxy

__all__ = ("node_client",)


@pytest.fixture(
    params=(NAMES[0], *(pytest.param(name, marks=pytest.mark.variant) for name in NAMES[1:]))
)
def address(request: pytest.FixtureRequest, site: Site) -> Iterator[str]:
    """A proxy in front of two gateways."""
    with proxy(request.param, site.targets()) as address:
        yield address


def test_a_stream_resumes_behind_a_proxy(site: Site, node_client: Path, address: str) -> None:
    with node_call(node_client, [address], "ServerStream", FORTY) as call:
        assert indices_while_the_gateway_ends(site, call) == INDICES


@pytest.mark.variant
def test_one_response_arrives_behind_a_proxy(
    site: Site, node_client: Path, address: str, request: pytest.FixtureRequest, gate: Path
) -> None:
    wish = EchoRequest(text="x", gate=Gate(path=str(gate)))
    with node_call(node_client, [address], "Unary", wish, named(request)) as call:
        running(site, named(request))
        site.end_gateway_of(named(request))
        gate.touch()
        assert [response["text"] for response in call.responses()] == ["x"]


@pytest.mark.variant
def test_an_upload_continues_behind_a_proxy(
    site: Site, node_client: Path, address: str, request: pytest.FixtureRequest
) -> None:
    with node_call(node_client, [address], "ClientStream", call_id=named(request)) as call:
        for number in range(20):
            if number == 10:
                site.end_gateway_of(named(request))
            call.send(EchoRequest(text="x" * 1000))
        call.done_writing()
        (response,) = call.responses()
    assert (len(response["text"]), response["index"]) == (20_000, 20)


@pytest.mark.variant
def test_a_live_call_continues_behind_a_proxy(
    site: Site, node_client: Path, address: str, request: pytest.FixtureRequest
) -> None:
    heard = []
    with node_call(node_client, [address], "Talk", call_id=named(request)) as call:
        responses = call.responses()
        for number in range(6):
            call.send(EchoRequest(text=str(number)))
            heard.append(next(responses)["text"])
            if number == 2:
                site.end_gateway_of(named(request))
        call.done_writing()
        assert list(responses) == []
    assert heard == [str(number) for number in range(6)]


@pytest.mark.variant
def test_a_stream_that_is_silent_for_longer_than_the_proxys_timeout_resumes(
    node_client: Path, address: str
) -> None:
    wish = EchoRequest(text="x", act="sleep", seconds=2 * READ_TIMEOUT_S + 1.0, count=2)
    with node_call(node_client, [address], "ServerStream", wish) as call:
        assert [index(response) for response in texts(call)] == [0, 1]


@pytest.mark.variant
def test_one_response_later_than_the_proxys_timeout_arrives(
    node_client: Path, address: str
) -> None:
    wish = EchoRequest(text="x", act="sleep", seconds=2 * READ_TIMEOUT_S + 1.0)
    with node_call(node_client, [address], "Unary", wish) as call:
        assert [response["text"] for response in call.responses()] == ["x"]
    assert call.retries


@pytest.mark.variant
def test_the_deadline_bounds_the_attempts_behind_a_proxy(node_client: Path, address: str) -> None:
    wish, timeout_ms = EchoRequest(act="sleep", seconds=30.0), READ_TIMEOUT_S * 1000 + 1000
    with node_call(node_client, [address], "ServerStream", wish, timeoutMs=timeout_ms) as call:
        assert call.failed()["code"] == "DeadlineExceeded"


@pytest.mark.variant
def test_a_handlers_own_status_is_raised_at_once_behind_a_proxy(
    node_client: Path, address: str
) -> None:
    for code, name in (
        (grpc.StatusCode.INTERNAL, "Internal"),
        (grpc.StatusCode.UNKNOWN, "Unknown"),
        (grpc.StatusCode.UNAVAILABLE, "Unavailable"),
    ):
        wish = EchoRequest(count=1)
        wish.status.code, wish.status.message = code.value[0], "the handler's own"
        with node_call(node_client, [address], "ServerStream", wish) as call:
            list(call.responses())
        assert (call.end["code"], call.end["message"]) == (name, "the handler's own")
        assert not call.retries


@pytest.mark.variant
def test_a_request_over_the_proxys_limit_fails_at_once(site: Site, node_client: Path) -> None:
    with (
        proxy("nginx", site.targets()) as address,
        node_call(node_client, [address], "ClientStream") as call,
    ):
        call.send(EchoRequest(ballast=bytes(1_500_000)))
        call.done_writing()
        assert "413" in call.failed()["message"]
    assert not call.retries
