"""Gateway and worker start on a ledger that nothing has used for hours."""

from __future__ import annotations

import time
from contextlib import closing

import grpc
import pytest
import redis

from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.metadata import CALL_ID
from forebay_backends.ledger.keys import (
    PARTITIONS,
    PRESENCE_INDEX,
    CallKey,
    partition_prefix,
)
from forebay_backends.ledger.scripts import LEASE_S
from tests.e2e.known_calls import new_id
from tests.harness import environment, eventually, forebay_gateway, redis_server, worker

OUTAGE_S = 8 * 3600
TIMEOUT_S = 30.0
SLACK_S = 10.0  # of a busy machine


def test_the_first_times_that_are_written_are_right() -> None:
    """The worker's presence, and a call's deadline: it would have passed an outage ago."""
    with redis_server() as url, closing(redis.Redis.from_url(url)) as server:
        for number in range(PARTITIONS):
            clock = {"offset": 0, "last": round((time.time() - OUTAGE_S) * 1000)}
            server.hset(f"{partition_prefix(number)}:clock", mapping=clock)
        env = environment(FOREBAY_LEDGER_URL=url)
        with (
            forebay_gateway(env=env) as (_, address),
            worker("-Q", "add", "--concurrency", "1", env=env),
            grpc.insecure_channel(address) as channel,
        ):
            call_id = new_id()
            add = ComputeServiceStub(channel).Add.future(
                AddRequest(x=1, y=2),
                timeout=TIMEOUT_S,
                metadata=[(CALL_ID, call_id)],
                wait_for_ready=True,
            )
            eventually(lambda: server.zcard(PRESENCE_INDEX) == 1, "the worker is announced")
            [(_, until)] = server.zrange(PRESENCE_INDEX, 0, -1, withscores=True)
            assert until == pytest.approx(time.time() + LEASE_S, abs=SLACK_S)
            assert add.result().sum == 3
            call = CallKey(call_id)
            created = float(server.hget(f"{call.partition}:call:{call}", "created_at") or 0)
            assert created / 1000 == pytest.approx(time.time(), abs=TIMEOUT_S)
