"""Takes pictures of each view of the operators' page, and of the browser example."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import grpc

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.browser.example_site import example_site
from tests.browser.running import chromium, installed
from tests.harness import environment, forebay_up, free_port

DOCS = Path(__file__).parents[1]
TIMEOUT_S = 60.0


@click.command()
@click.option("--seconds", default=90.0, show_default=True, help="How long calls are made before.")
def main(seconds: float) -> None:
    """Take one picture of each view, light and dark, of a page with real data."""
    port = free_port()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, _up(Path(folder), port) as address:
        made = _calls(address, seconds)
        node = Path(folder) / "node"
        node.mkdir()
        with chromium(installed(node)) as browser, example_site() as example:
            for scheme in ("light", "dark"):
                browser.run(
                    "example",
                    example.page,
                    gateway=example.gateway,
                    n=1000,
                    digits=str(math.factorial(1000)),
                    large=700_000,
                    scheme=scheme,
                    picture=str(DOCS / f"browser-example-{scheme}.png"),
                )
                browser.run(
                    "pictures",
                    f"http://127.0.0.1:{port}",
                    folder=str(DOCS),
                    scheme=scheme,
                    call=f"operations/{made}",
                    method="forebay.compute.v1.ComputeService.Add",
                    fields={"x": "1", "y": "2"},
                    views=[
                        ["calls", "#/calls", "RUNNING"],
                        ["fleet", "#/fleet", "forebay-factorial"],
                        ["methods", "#/methods", "ComputeService.MatMul"],
                    ],
                )


@contextmanager
def _up(folder: Path, port: int) -> Iterator[str]:
    env = environment(FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_WEB_LISTEN="127.0.0.1:0")
    with forebay_up("--admin-listen", f"127.0.0.1:{port}", env=env) as (_, address):
        yield address


def _calls(address: str, seconds: float) -> str:
    """Calls Add and Factorial for some seconds; some calls fail on purpose.

    Returns the id of a call that succeeded. Three long calls still run afterwards.
    """
    give_up = time.monotonic() + seconds
    channel = grpc.insecure_channel(address)
    stub, made = ComputeServiceStub(channel), "factorial-of-30"
    _factorial(stub, 30, made)
    number = 0
    while time.monotonic() < give_up:
        number += 1
        stub.Add(pb.AddRequest(x=number, y=2), timeout=TIMEOUT_S)
        if number % 20 == 0:
            _factorial(stub, 1000 + number)
        if number % 150 == 0:
            _factorial(stub, 10**11)  # over the limit
        time.sleep(0.02)
    for waiting in range(3):
        call = (stub, 9_000_000, f"long-{waiting}")
        threading.Thread(target=_factorial, args=call, daemon=True).start()
        time.sleep(0.5)
    time.sleep(7)  # until the workers have reported
    return made


def _factorial(stub: ComputeServiceStub, n: int, call_id: str = "") -> None:
    named = (("forebay-call-id", call_id),) if call_id else ()
    with suppress(grpc.RpcError):
        for _ in stub.Factorial(pb.FactorialRequest(n=n), timeout=TIMEOUT_S * 10, metadata=named):
            pass


if __name__ == "__main__":
    main()
