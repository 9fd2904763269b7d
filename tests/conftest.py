"""Fixtures that start real things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest

from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.harness import Process, environment, forebay_up, short_folder


@dataclass(frozen=True)
class Up:
    """A running `forebay up`: its address, its environment and its process."""

    address: str
    env: dict[str, str]
    process: Process


@pytest.fixture(scope="session")
def up() -> Iterator[Up]:
    """Everything on an embedded backend: three workers and a gateway, once a session."""
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with forebay_up(env=env) as (process, address):
            yield Up(address, env, process)


@pytest.fixture
def channel(up: Up) -> Iterator[grpc.Channel]:
    """A channel to `up`."""
    with grpc.insecure_channel(up.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> ComputeServiceStub:
    """The generated stub, on `up`."""
    return ComputeServiceStub(channel)
