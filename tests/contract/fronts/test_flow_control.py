"""Slow readers and slow writers: what waits for them is bounded, and holds up nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hyperframe.frame import DataFrame, SettingsFrame, WindowUpdateFrame

from tests.contract.fronts.site import MIB, Site, path
from tests.faults.raw_http2 import PREFACE, RawConnection, message, request_headers
from tests.harness import eventually

WINDOW = 65_535
FRAME = 16_000
LAZY, FLOOD, ECHO, HERE = (path(name).encode() for name in ("Lazy", "Flood", "Echo", "Here"))


@pytest.fixture
def connection(site: Site) -> Iterator[RawConnection]:
    with RawConnection.greeted(site.address) as connection:
        yield connection


def opened(connection: RawConnection, to: bytes, stream: int = 1) -> bytes:
    return connection.request(request_headers(to), b"", stream)[0]


def frames(payload: bytes, stream: int = 1) -> bytes:
    parts = [payload[at : at + FRAME] for at in range(0, len(payload), FRAME)]
    return b"".join(DataFrame(stream, part).serialize() for part in parts)


def credit(connection: RawConnection, stream: int) -> int:
    """Waits for a WINDOW_UPDATE of the stream."""
    while True:
        frame = connection.next_frame(stream)
        if isinstance(frame, WindowUpdateFrame):
            return int(frame.window_increment)


def test_a_caller_gets_credit_when_its_requests_are_read(
    site: Site, connection: RawConnection
) -> None:
    connection.send(opened(connection, LAZY) + DataFrame(1, message(b"first")).serialize())
    assert site.event() == "one"
    one = message(bytes(40_000))
    connection.send(frames(one))
    assert connection.ping(), "the server has taken it in"
    site.go()
    left, rest = WINDOW - len(message(b"first")) - len(one), one * 3
    while rest:
        part, rest = rest[:left], rest[left:]
        connection.send(frames(part))
        left -= len(part)
        if rest:
            left += credit(connection, 1)
    end = DataFrame(1, b"")
    end.flags.add("END_STREAM")
    connection.send(end.serialize())
    assert connection.reply().data == message(b"4 160000")


def test_requests_that_have_arrived_are_read_in_order_with_and_without_waiting(
    site: Site, connection: RawConnection
) -> None:
    connection.send(opened(connection, HERE) + DataFrame(1, message(b"a")).serialize())
    assert site.event() == "one"
    connection.send(DataFrame(1, message(b"b") + message(b"c")).serialize())
    assert connection.ping(), "the server has taken them in"
    site.go()
    # gRPC's server does not tell what has arrived.
    assert site.event() == ("3 are here" if site.kind == "native" else "1 are here")
    end = DataFrame(1, message(b"d"))
    end.flags.add("END_STREAM")
    connection.send(end.serialize())
    assert connection.reply().data == message(b"a b c d")


def test_unread_requests_hold_up_no_other_call(site: Site, connection: RawConnection) -> None:
    """100 windows, which are more than many a server gives a whole connection."""
    for stream in range(1, 201, 2):
        connection.send(opened(connection, LAZY, stream))
        connection.send(DataFrame(stream, message(b"first")).serialize())
        assert site.event() == "one"
    held = 0
    for stream in range(1, 201, 2):
        connection.send(frames(message(bytes(40_000)), stream))
        held += 40_000
    connection.send(b"".join(connection.request(request_headers(ECHO), message(b"x"), 999)))
    assert connection.reply(999).data == message(b"x")
    assert held > 3 * MIB


def test_a_large_message_that_is_read_needs_few_round_trips(connection: RawConnection) -> None:
    connection.send(
        opened(connection, ECHO) + DataFrame(1, message(bytes(4 * MIB))[:5]).serialize()
    )
    assert credit(connection, 1) >= MIB - WINDOW


def test_a_caller_that_reads_nothing_stops_the_handler(site: Site) -> None:
    with RawConnection.greeted(site.address) as connection:
        connection.send(b"".join(connection.request(request_headers(FLOOD), message(b""))))
        connection.until_message()
        assert _steady(lambda: site.written) < 40  # of 64 KiB; the socket holds most of them
    assert site.event() == "cancelled"


def test_a_window_of_nothing_stops_the_handler_and_one_that_opens_lets_it_go_on(site: Site) -> None:
    connection = RawConnection(site.address)
    connection.send(PREFACE + SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize())
    connection.send(b"".join(connection.request(request_headers(FLOOD), message(b""))))
    assert _steady(lambda: site.written) <= 2
    for _ in range(20):
        connection.send(WindowUpdateFrame(1, WINDOW).serialize())
        connection.send(WindowUpdateFrame(0, WINDOW).serialize())
        connection.until_message()
    eventually(lambda: site.written >= 10, "the handler goes on")
    connection.socket.close()
    assert site.event() == "cancelled"


def _steady(number: object) -> int:
    """The number once it has not changed for half a second."""
    assert callable(number)
    seen, since = number(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if number() != seen:
            seen, since = number(), time.monotonic()
    return int(seen)
