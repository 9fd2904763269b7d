"""A gateway of EchoService for tests that kill its workers, started once a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import grpc
import pytest
import redis

from tests.echo.running import ROOT
from tests.faults.fleet import FleetMonitor
from tests.harness import environment, forebay_gateway, short_folder

GRACE_S = 1.0


@pytest.fixture(scope="module")
def system() -> Iterator[FleetMonitor]:
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]',
            FOREBAY_CANCEL_GRACE_S=str(GRACE_S),
            FOREBAY_LINGER_S="0.1",
        )
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            grpc.insecure_channel(address) as channel,
            closing(redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock")) as ledger,
        ):
            yield FleetMonitor(env, channel, ledger)


@pytest.fixture
def fleet(system: FleetMonitor) -> Iterator[FleetMonitor]:
    yield system
    system.lose_all()
