"""Starts Forebay, makes the tutorial's three calls, and stops everything.

Starts `forebay up` (the embedded server, three Celery workers, the gateway) in a
folder of its own, calls Factorial, MatMul and Add through the generated stub,
shows progress and results, and stops what it started. `make demo` runs it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from rich.console import Console
from rich.progress import Progress

from forebay.compute.v1.compute_pb2 import (
    AddRequest,
    FactorialRequest,
    MatMulRequest,
    RandomOperands,
)
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

TIMEOUT_S = 60.0
console = Console()


def main() -> None:
    """Runs the demo."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="forebay-") as folder,
        # gRPC is used in a thread of its own. An exception of `interrupted` that is raised inside
        # gRPC may be lost, or leave a channel that never closes; the main thread only waits.
        ThreadPoolExecutor(1) as thread,
        forebay_up(folder) as address,
    ):
        console.print(f"forebay is up on {address} after {time.monotonic() - started:.1f} s")
        thread.submit(make_calls, address).result()
    console.print(f"all stopped; {time.monotonic() - started:.1f} s in all")


def make_calls(address: str) -> None:
    """Makes the three calls, one after another."""
    with grpc.insecure_channel(address) as channel:
        stub = ComputeServiceStub(channel)
        factorial(stub, 20000)
        mat_mul(stub, 20, 20)
        add(stub, 4, 6)


@contextmanager
def forebay_up(folder: str) -> Iterator[str]:
    """Runs `forebay up` on a free port until the block is left; yields the gateway's address."""
    command = Path(sys.executable).parent / "forebay"
    # The user's own Forebay settings could lead the demo to another backend.
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    with subprocess.Popen(
        [command, "up", "--listen", "127.0.0.1:0", "--data-dir", folder],
        stdout=subprocess.PIPE,
        env=env,
        cwd=folder,
        text=True,
        process_group=0,  # so that Ctrl-C reaches only the demo, which then stops `forebay up`
    ) as up:
        try:
            line = up.stdout.readline() if up.stdout else ""
            if not line:
                sys.exit(f"forebay did not come up; it ended with {up.wait()}")
            yield line.split()[-1]
        finally:
            up.send_signal(signal.SIGINT)


def factorial(stub: ComputeServiceStub, n: int) -> None:
    """Computes n! and shows its progress."""
    digits = ""
    with progress_bar(f"Factorial({n})") as advance:
        for response in stub.Factorial(FactorialRequest(n=n), timeout=TIMEOUT_S):
            match response.WhichOneof("part"):
                case "progress":
                    advance(response.progress.fraction, response.progress.stage)
                case "header":
                    count = response.header.digit_count
                    advance(0.0, f"{count} digits to come")
                case "digits":
                    digits += response.digits
                    advance(len(digits) / count, f"{len(digits)} of {count} digits")
    show(f"Factorial({n})", digits)


def mat_mul(stub: ComputeServiceStub, m: int, n: int) -> None:
    """Multiplies random matrices, m×n by n×m, and shows the progress."""
    request = MatMulRequest(random=RandomOperands(m=m, n=n))
    data = b""
    with progress_bar(f"MatMul({m}, {n})") as advance:
        for response in stub.MatMul(iter([request]), timeout=TIMEOUT_S):
            match response.WhichOneof("part"):
                case "progress":
                    advance(response.progress.fraction, response.progress.stage)
                case "header":
                    header = response.header
                    advance(0.0, f"{header.rows}×{header.cols} of seed {header.seed} to come")
                case "panel":
                    data += response.panel.data
                    rows = response.panel.first_row + response.panel.rows
                    advance(rows / header.rows, f"{rows} of {header.rows} rows")
    product = np.frombuffer(data).reshape(header.rows, header.cols)
    show(f"MatMul({m}, {n})", repr(product.tolist()))


def add(stub: ComputeServiceStub, x: float, y: float) -> None:
    """Adds two numbers."""
    show(f"Add({x:g}, {y:g})", f"{stub.Add(AddRequest(x=x, y=y), timeout=TIMEOUT_S).sum:g}")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[float, str], None]]:
    """Shows a bar on a terminal, or else lines; yields a function that takes fraction and stage."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=1.0)

        def advance(fraction: float, stage: str) -> None:
            progress.update(bar, completed=fraction, description=f"{what}: {stage}")
            if not console.is_terminal:
                console.print(f"{what}: {fraction:.0%}, {stage}", soft_wrap=True)

        yield advance


def show(what: str, text: str) -> None:
    """Prints a result; shortens a long one and adds its length and a digest."""
    if len(text) > 80:
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        text = f"{text[:24]} … {text[-24:]} ({len(text)} characters, sha256 {digest}…)"
    console.print(f"{what} = {text}", markup=False, soft_wrap=True)


def interrupted(number: int, _: object) -> None:
    """Exits by an exception, so that all processes are stopped and the folder is removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupted)
    main()
