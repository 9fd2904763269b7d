"""Ephemeral calls that wait in their queue for longer than a lease."""

from __future__ import annotations

import time

import grpc
import pytest

from forebay_backends.ledger.scripts import LEASE_S
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import redis_server

RUN_S = 0.5
COUNT = int(1.7 * LEASE_S / RUN_S)
APART_S = 0.05
"""So that calls don't share a message."""


@pytest.mark.variant
def test_no_call_counts_as_lost_when_a_worker_takes_it_at_last() -> None:
    """The gateway's look at the queue's depth may come between that and the worker's report."""
    with redis_server() as url:
        env = echo_environment(FOREBAY_LEDGER_URL=url, FOREBAY_QUEUE_WAIT_S="600")
        with (
            echo_gateway(env) as (gateway, address),
            echo_worker(env, slots=1),
            grpc.insecure_channel(address) as channel,
        ):
            stub = EchoServiceStub(channel)
            texts = [str(number) for number in range(COUNT)]
            requests = [EchoRequest(text=text, act="sleep", seconds=RUN_S) for text in texts]
            calls = []
            for number, request in enumerate(requests):
                # Quick may not run again; Unary may, so a lost one would be sent once more.
                calls.append((stub.Unary if number % 2 else stub.Quick).future(request))
                time.sleep(APART_S)
            assert [call.result(timeout=4 * LEASE_S).text for call in calls] == texts
    assert "is resent" not in gateway.output
