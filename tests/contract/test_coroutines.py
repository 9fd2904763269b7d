"""Coroutine handlers on the asyncio pool, on every pair of backends, with signed messages."""

from __future__ import annotations

import re
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.echo.gates import Gates
from tests.echo.running import (
    COROUTINES_APP,
    ROOT,
    echo_environment,
    echo_gateway,
    pool_option,
)
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, free_port, process, short_folder

pytestmark = pytest.mark.variant

TIMEOUT_S = 60.0
SLOTS = 8


@dataclass(frozen=True)
class System:
    """A gateway and a worker with signing keys; the worker serves its metrics."""

    stub: EchoServiceStub
    worker: Process
    metrics: str


@pytest.fixture(scope="module")
def system(backend: dict[str, str]) -> Iterator[System]:
    with short_folder() as folder:
        keys = _keys(folder)
        env = echo_environment(FOREBAY_SIGNING_KEYS=str(keys), **backend)
        option, variables = pool_option("asyncio")
        metrics = f"127.0.0.1:{free_port()}"
        with (
            echo_gateway(env) as (_, address),
            process(
                *["celery", "-A", COROUTINES_APP, "worker", "-Q", "echo", "-l", "INFO"],
                *["-n", f"test-{free_port()}@%h", "--pool", option, "--metrics", metrics],
                *["--concurrency", str(SLOTS)],
                env={**env, **variables},
                cwd=ROOT,
            ) as worker,
            grpc.insecure_channel(address) as channel,
        ):
            worker.wait_for(r" ready\.")
            yield System(EchoServiceStub(channel), worker, metrics)


def _keys(folder: Path) -> Path:
    path = folder / "signing.toml"
    path.write_text(f'[keys]\nfirst = "{b64encode(b"k" * 32).decode()}"\n')
    path.chmod(0o600)
    return path


def test_all_kinds_of_methods_run(system: System) -> None:
    stub, request = system.stub, EchoRequest(text="x", count=2)
    for method in (stub.Unary, stub.Quick, stub.QuickAgain):
        assert method(request, timeout=TIMEOUT_S).text == "x"
    assert [r.index for r in stub.ServerStream(request, timeout=TIMEOUT_S)] == [0, 1]
    assert stub.ClientStream(iter([request] * 9), timeout=TIMEOUT_S).text == "x" * 9
    assert [r.index for r in stub.Bidi(iter([request] * 3), timeout=TIMEOUT_S)] == [0, 1, 2]
    assert [r.index for r in stub.Talk(iter([request] * 3), timeout=TIMEOUT_S)] == [0, 1, 2]


@pytest.mark.parametrize("method", ["Unary", "Quick", "QuickAgain"])
def test_more_calls_than_slots_all_end(system: System, method: str) -> None:
    calls = [
        getattr(system.stub, method).future(
            EchoRequest(act="sleep", seconds=0.1, text=str(number)), timeout=TIMEOUT_S
        )
        for number in range(5 * SLOTS)
    ]
    assert [call.result().text for call in calls] == [str(n) for n in range(5 * SLOTS)]


@pytest.mark.parametrize("method", ["Unary", "Quick", "QuickAgain"])
def test_exactly_as_many_handlers_as_slots_run_at_once(
    system: System, method: str, tmp_path: Path
) -> None:
    """How a worker limits the messages that it takes depends on the broker.

    `tests/e2e/test_slots.py` tests this on all pools.
    """
    Gates(tmp_path).fill(system.stub, method, SLOTS)


def test_runs_are_counted(system: System) -> None:
    for _ in range(3):
        system.stub.Listen(iter([EchoRequest(text="x")]), timeout=TIMEOUT_S)
    with urllib.request.urlopen(f"http://{system.metrics}/metrics", timeout=10) as response:
        text = response.read().decode()
    counted = re.search(r'forebay_run_seconds_count\{method="\S+\.Listen"\} (\S+)', text)
    assert counted is not None, text
    assert float(counted[1]) == 3
    assert 'forebay_ledger_seconds_count{operation="attempts/begin"}' in text
