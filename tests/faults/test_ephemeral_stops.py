"""An ephemeral call has no record, so only a stop message can stop its handler."""

from __future__ import annotations

from pathlib import Path

import grpc
import redis

from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import environment, eventually, forebay_gateway, process, short_folder

ROOT = Path(__file__).parents[2]
SLEEP = EchoRequest(text="x", act="sleep", seconds=1.0)


def slept_s(call: grpc.Call) -> float:
    """How long the handler slept: a stop ends its sleep early."""
    return int(dict(call.trailing_metadata())["forebay-run-ms"]) / 1000


def test_an_ephemeral_call_runs_on_when_pubsub_is_subscribed_and_when_it_breaks() -> None:
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]'
        )
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            process(
                *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"],
                *["--pool", "threads", "--concurrency", "1"],
                *["--without-mingle", "--without-gossip"],
                env=env,
                cwd=ROOT,
            ) as worker,
            grpc.insecure_channel(address) as channel,
            redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock") as server,
        ):
            worker.wait_for(r" ready\.")
            stub = EchoServiceStub(channel)
            # The first call of a process: it subscribes meanwhile.
            _, first = stub.Quick.with_call(SLEEP, timeout=20)
            assert slept_s(first) >= SLEEP.seconds
            channels = set(server.pubsub_channels("forebay:control:*"))
            second = stub.Quick.future(SLEEP, timeout=20)
            worker.wait_for(r"(?s)received.*received")
            server.client_kill_filter(_type="pubsub")
            eventually(
                lambda: channels <= set(server.pubsub_channels("forebay:control:*")),
                "the worker has subscribed again",
            )
            second.result()
            assert slept_s(second) >= SLEEP.seconds
