"""Gateways and workers of a method whose ends a task is told of."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_channelz.v1 import channelz_pb2 as channelz
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzStub

from tests.harness import Process, environment, eventually, forebay_gateway, free_port, process

ROOT = Path(__file__).parents[2]
METHOD = "grpc.channelz.v1.Channelz.GetServer"
TIMEOUT_S = 30.0
RUNS, ENDS = ("told",), ("told-ends",)
"""The queues of the calls, and of the messages about their ends."""


@dataclass
class Told:
    """The environment of gateways and workers, and what the task was told."""

    folder: Path
    variables: Mapping[str, str]
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.env = environment(
            FOREBAY_SERVICES='["grpc_channelz.v1.channelz_pb2"]',
            FOREBAY_ROUTES=str(ROOT / "tests/told/routes.toml"),
            TOLD_FILE=str(self.folder / "told.jsonl"),
            **self.variables,
        )

    @contextlib.contextmanager
    def gateway(self) -> Iterator[tuple[Process, str]]:
        """A gateway; its process and its address."""
        with forebay_gateway(env=self.env, cwd=ROOT) as running:
            yield running

    @contextlib.contextmanager
    def worker(self, *queues: str, app: str = "tests.told.worker") -> Iterator[Process]:
        """A worker of these queues, ready."""
        name = f"told-{free_port()}@%h"
        command = ["celery", "-A", app, "worker", "-l", "INFO", "-n", name]
        options = ["--pool", "threads", "-c", "4", "--without-mingle", "--without-gossip"]
        with process(*command, "-Q", ",".join(queues), *options, env=self.env, cwd=ROOT) as started:
            started.wait_for(r" ready\.")
            yield started

    def of(self, call_id: str) -> dict[str, Any]:
        """What the task was told of the call's end."""
        found: list[dict[str, Any]] = []
        eventually(lambda: bool(found.extend(self.all(call_id)) or found), "the task is told")
        return found[0]

    def all(self, call_id: str) -> list[dict[str, Any]]:
        """All that it was told of the call by now."""
        file = Path(self.env["TOLD_FILE"])
        lines = file.read_text().splitlines() if file.exists() else []
        endings: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [one for one in endings if one["id"] == call_id]


def call(address: str, call_id: str, server: int = 1, **options: Any) -> grpc.StatusCode:
    """Calls the method to its end; returns the status."""
    metadata = (("forebay-call-id", call_id), *options.pop("metadata", ()))
    with grpc.insecure_channel(address) as channel:
        future = ChannelzStub(channel).GetServer.future(
            channelz.GetServerRequest(server_id=server),
            metadata=metadata,
            **{"timeout": TIMEOUT_S, **options},
        )
        code: grpc.StatusCode = future.code()
        return code


def left(address: str, call_id: str, server: int = 1, **metadata: str) -> None:
    """Starts a call, and leaves it when it is accepted."""
    pairs = [(key.replace("_", "-"), value) for key, value in metadata.items()]
    with grpc.insecure_channel(address) as channel:
        # gRPC hands over the initial metadata of a unary call only with its response.
        start = channel.unary_stream(f"/{METHOD.replace('.GetServer', '/GetServer')}")
        started = start(
            channelz.GetServerRequest(server_id=server).SerializeToString(),
            metadata=(("forebay-call-id", call_id), *pairs),
            timeout=TIMEOUT_S,
        )
        assert dict(started.initial_metadata())["forebay-attached"] == "new"
        started.cancel()
