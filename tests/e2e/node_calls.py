"""Calls of the client in clients/node on a site, for tests that end gateways."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import eventually
from tests.node_client import NodeCall

FORTY = EchoRequest(text="x", count=40, seconds=0.05)
INDICES = list(range(40))


def index(response: dict[str, Any]) -> int:
    return int(response.get("index", 0))


def texts(call: NodeCall) -> Iterator[dict[str, Any]]:
    """The ordinary responses of ServerStream."""
    return (response for response in call.responses() if "text" in response)


def indices_while_the_gateway_ends(
    site: Site, call: NodeCall, at: tuple[int, ...] = (5,), number: int = signal.SIGKILL
) -> list[int]:
    """The items' indices; the call's gateway ends when there are so many."""
    indices = []
    for response in texts(call):
        indices.append(index(response))
        if len(indices) in at:
            site.end_gateway_of(call.header["forebay-call-id"], number)
    assert call.end["code"] == "Ok", call.end
    return indices


def named(request: pytest.FixtureRequest) -> str:
    """A call id for the test."""
    return "node-" + "".join(c if c.isalnum() else "-" for c in request.node.name)


def running(site: Site, name: str) -> None:
    eventually(lambda: site.field(name, "state") == "RUNNING", "the handler runs")
