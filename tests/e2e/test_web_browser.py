"""Calls of a page in a real Chromium, by connect-web, from a listed origin and from another."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import grpc
import pytest
from google.api_core.operations_v1 import OperationsClient

from forebay.compute.v1 import compute_pb2
from tests import identity_on
from tests.commands import run
from tests.conftest import Up
from tests.e2e.known_calls import state_of
from tests.harness import environment, eventually, forebay_gateway
from tests.npm import require
from tests.web_clients import descriptor_set, web_clients

__all__ = ("web_clients",)

pytestmark = [
    pytest.mark.timeout(300),  # npm's installation is part of it
    pytest.mark.variant,
    pytest.mark.skipif(identity_on.is_on(), reason="its gateway is reached without TLS"),
]

DEADLINE_EXCEEDED, OUT_OF_RANGE = 4, 11
KINDS = ("json", "get", "binary", "grpcWeb")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port on which the folder's files are served."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def site(web_clients: Path, tmp_path: Path) -> Path:
    """The folder of the page: its HTML, its bundle, and the descriptors of its service."""
    bundle = (
        "node_modules/.bin/esbuild",
        "page.js",
        "--bundle",
        f"--outfile={tmp_path}/page.out.js",
    )
    run(*bundle, env=environment(), cwd=web_clients).succeeded()
    (tmp_path / "index.html").write_text("<!doctype html><script src='page.out.js'></script>")
    (tmp_path / "descriptors.binpb").write_bytes(descriptor_set(compute_pb2.DESCRIPTOR))
    return tmp_path


def test_a_page_makes_calls_and_its_closed_tab_ends_them(
    up: Up, channel: grpc.Channel, web_clients: Path, site: Path
) -> None:
    require("chromium")
    with ExitStack() as stack:
        listed, foreign = (stack.enter_context(served(site)) for _ in range(2))
        env = {**up.env, "FOREBAY_WEB_ORIGINS": json.dumps([f"http://localhost:{listed}"])}
        gateway, _ = stack.enter_context(forebay_gateway("--web-listen", "127.0.0.1:0", env=env))
        web = gateway.wait_for(r"serves browsers on (\S+)")[1]
        printed = run(
            *("node", "browser.mjs", str(shutil.which("chromium"))),
            *(f"http://localhost:{listed}/", web, f"http://localhost:{foreign}/"),
            env=environment(),
            cwd=web_clients,
        ).succeeded()
        said = {line["step"]: line["value"] for line in map(json.loads, printed.out.splitlines())}
        for kind in KINDS:
            refused = said[kind]["refused"]
            assert "google.rpc.BadRequest" in refused.pop(), kind
            assert said[kind] == {
                "sum": 3,
                "digits": 5736,
                "refused": [OUT_OF_RANGE],
                "late": DEADLINE_EXCEEDED,
                "errors": [],
            }, kind
        assert "Failed to fetch" in said["foreign"]
        operations = OperationsClient(channel)
        for kind in KINDS:
            call_id = said[f"{kind} closed"]
            eventually(lambda c=call_id: state_of(c, operations) == "CANCELLED", f"{kind} ends")
