"""Clients that ping the gateway to keep a connection open."""

from __future__ import annotations

from forebay_gateway.fronts.limits import FrontLimits
from tests.conftest import Up
from tests.faults.raw_http2 import RawConnection, message, request_headers

CHECK, WATCH = b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch"
_SLACK_S = 0.5


def test_a_client_may_ping_every_10_s_on_a_silent_call(up: Up) -> None:
    """The gateway's gRPC forgives two early pings and ends the connection at the third.

    So a fourth ping, 10 s after three, is accepted only if that interval is allowed.
    """
    with RawConnection.greeted(up.address) as connection:
        connection.send(b"".join(connection.request(request_headers(WATCH), message(b""))))
        connection.until_message()
        assert [connection.ping() for _ in range(3)] == [True, True, True]
        assert connection.stays_open(FrontLimits.min_ping_interval_s + _SLACK_S)
        assert connection.ping()
        connection.send(b"".join(connection.request(request_headers(CHECK), message(b""), 3)))
        assert connection.reply(stream=3).headers[b"grpc-status"] == b"0"


def test_a_client_that_pings_much_more_often_is_cut_off(up: Up) -> None:
    with RawConnection.greeted(up.address) as connection:
        connection.send(b"".join(connection.request(request_headers(WATCH), message(b""))))
        assert not all(connection.ping() for _ in range(10))
