"""The client in clients/node retries a call over a quota when the gateway's RetryInfo says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_node_client import node_client
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import short_folder
from tests.node_client import node_call
from tests.tenancy.running import Tenants

__all__ = ("node_client",)


@pytest.mark.variant
def test_calls_over_a_quota_succeed_when_they_are_retried(
    node_client: Path, tmp_path: Path
) -> None:
    tenants = Tenants(tmp_path, "slow")
    headers = {"authorization": f"Bearer {tenants.token('slow')}"}
    with short_folder() as folder:
        limits = tenants.settings(slow={"per_second": 1})
        env = echo_environment(FOREBAY_DATA_DIR=str(folder / "data"), **limits)
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env),
            node_call(node_client, [address], "Unary", headers=headers) as calls,
        ):
            for text in "abc":
                calls.send(EchoRequest(text=text))
            calls.done_writing()
            assert sorted(response["text"] for response in calls.responses()) == ["a", "b", "c"]
    assert {retry["code"] for retry in calls.retries} == {"ResourceExhausted"}
