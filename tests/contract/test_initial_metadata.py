"""The handler's initial metadata reaches the caller of a durable call, whatever wakes its RPC."""

from __future__ import annotations

import pytest

from forebay_gateway.durable import watches
from forebay_gateway.testing import serving
from tests.e2e.interop import first_quick
from tests.e2e.probed import ECHO, TIMEOUT_S
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.servicers.slow_metadata import METADATA, SlowMetadata

RENEWAL_INTERVAL_S = 0.002
HANDLER_S = 0.03


def test_renewals_of_watches_do_not_end_the_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "LEASE_CHECK_INTERVAL_S", RENEWAL_INTERVAL_S)
    with serving({ECHO: SlowMetadata()}) as service:
        stub = EchoServiceStub(service.channel)
        request = EchoRequest(seconds=HANDLER_S)
        _, call = first_quick(
            lambda: stub.Unary.with_call(request, timeout=TIMEOUT_S),
            lambda made: dict(made[1].trailing_metadata()),
        )
        assert set(METADATA) <= set(call.initial_metadata())
