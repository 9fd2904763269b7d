"""Chromium's own EventSource follows a call from one gateway to another."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.conftest import Site
from tests.e2e.web import web_gateway
from tests.harness import environment, process
from tests.npm import require
from tests.web_clients import web_clients

__all__ = ("web_clients",)

pytestmark = [pytest.mark.timeout(300), pytest.mark.variant]  # npm's installation is part of it

STEADY = "/tests.echo.v1.EchoService/Steady"


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def balancer(*gateways: str) -> Iterator[str]:
    """One address; each connection goes to the first gateway that takes it."""
    with ExitStack() as sockets:
        server = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

        def connect(gateway: str) -> socket.socket:
            host, _, port = gateway.rpartition(":")
            return sockets.enter_context(socket.create_connection((host, int(port))))

        def accept() -> None:
            with suppress(OSError):  # the block is left
                while True:
                    caller = sockets.enter_context(server.accept()[0])
                    for gateway in gateways:
                        with suppress(ConnectionError):
                            there = connect(gateway)
                            break
                    for ends in ((caller, there), (there, caller)):
                        threading.Thread(target=_pass_on, args=ends, daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)  # wakes up `accept`
        accepting.join()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_page_sees_each_item_once_when_its_gateway_ends(
    site: Site, web_clients: Path, number: signal.Signals
) -> None:
    require("chromium")
    first, second = web_gateway(site), web_gateway(site)
    request = {"text": "x", "count": 60, "seconds": 0.1}
    with ExitStack() as stack:
        address = stack.enter_context(balancer(first.address, second.address))
        page = f"http://{address}/openapi.json"
        url = f"http://{address}{STEADY}?message={quote(json.dumps(request))}"
        browser = ("node", "events.mjs", str(shutil.which("chromium")), page, url, "10")
        running = stack.enter_context(process(*browser, env=environment(), cwd=web_clients))
        running.wait_for("seen", timeout_s=90)
        first.gateway.end(number)
        said = json.loads(running.wait_for(r"(\{.*\})", timeout_s=90)[1])
    assert [item.get("index", 0) for item in said["items"]] == list(range(60))
    assert [one.rpartition("/")[2] for one in said["ids"]] == [str(n) for n in range(60)]
    assert said["named"][0] == "start"
    assert said["named"][-1] == "end"
    assert said["breaks"] >= 2  # the gateway's end, and the answer after the call's
    second.gateway.end(signal.SIGTERM)
