"""Calls with a slow caller that last longer than a watch's lease."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from forebay_backends.ledger.scripts import LEASE_S
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import environment, forebay_gateway, process, short_folder

ROOT = Path(__file__).parents[2]
LONG_S = LEASE_S + 4.0


def uploads_with_a_pause(stub: EchoServiceStub) -> bool:
    def requests() -> Iterator[EchoRequest]:
        yield EchoRequest(text="a")
        time.sleep(LONG_S)
        yield EchoRequest(text="b")

    return stub.ClientStream(requests(), timeout=60).text == "ab"


def stops_reading_for_a_while(stub: EchoServiceStub) -> bool:
    responses = stub.ServerStream(EchoRequest(count=200, padding=100_000), timeout=60)
    first = next(responses)
    time.sleep(LONG_S)
    return [first.index, *(response.index for response in responses)] == list(range(200))


def always_has_more_to_read(stub: EchoServiceStub) -> bool:
    responses = stub.ServerStream(EchoRequest(count=200, padding=100_000), timeout=60)
    indexes = []
    for response in responses:
        indexes.append(response.index)
        time.sleep(LONG_S / 200)
    return indexes == list(range(200))


def waits_for_a_silent_handler(stub: EchoServiceStub) -> bool:
    return stub.Unary(EchoRequest(act="sleep", seconds=LONG_S, text="x"), timeout=60).text == "x"


@pytest.mark.variant
def test_a_slow_caller_does_not_count_as_disconnected() -> None:
    kinds = (
        uploads_with_a_pause,
        stops_reading_for_a_while,
        always_has_more_to_read,
        waits_for_a_silent_handler,
    )
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]',
            FOREBAY_WINDOW_BYTES="1000000",
        )
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            process(
                *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"],
                *["--pool", "threads", "--concurrency", "4"],
                *["--without-mingle", "--without-gossip"],
                env=env,
                cwd=ROOT,
            ) as worker,
            grpc.insecure_channel(address) as channel,
            ThreadPoolExecutor(len(kinds)) as pool,
        ):
            worker.wait_for(r" ready\.")
            stub = EchoServiceStub(channel)
            assert list(pool.map(lambda kind: kind(stub), kinds)) == [True] * len(kinds)
