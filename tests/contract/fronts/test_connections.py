"""Connections: limits, keepalive, age, GOAWAY, the end of a front, addresses."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
import weakref
from contextlib import suppress

import grpc
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame, RstStreamFrame

from forebay_backends.aio.periodic import LONGEST_PAUSE
from forebay_gateway.fronts.native.connection import NativeConnection
from forebay_gateway.fronts.native.front import TICK_S, NativeFront
from forebay_gateway.fronts.native.listeners import listening_sockets
from forebay_gateway.fronts.native.session import Session
from tests.contract.fronts.site import KINDS, LIMITS, Handlers, Site, path, serving
from tests.faults.raw_http2 import RawConnection, message, request_headers
from tests.harness import eventually, short_folder

ECHO, HANG, CHAT = (path(name).encode() for name in ("Echo", "Hang", "Chat"))
EVERY_STREAM = 2**31 - 1
REFUSED_STREAM = 7
_TIMEOUT_S = 20.0


def whole(connection: RawConnection, to: bytes, stream: int, body: bytes = b"x") -> bytes:
    return b"".join(connection.request(request_headers(to), message(body), stream))


def opened(connection: RawConnection, to: bytes, stream: int) -> bytes:
    return connection.request(request_headers(to), b"", stream)[0]


def test_streams_over_the_limit_are_refused_and_may_come_later() -> None:
    with serving("native", max_streams=5) as site, RawConnection.greeted(site.address) as caller:
        for stream in range(1, 11, 2):
            caller.send(opened(caller, HANG, stream))
            assert site.event() == "began"
        caller.send(whole(caller, ECHO, 11))
        refused = caller.next_frame(11)
        assert isinstance(refused, RstStreamFrame)
        assert refused.error_code == REFUSED_STREAM
        caller.send(RstStreamFrame(1, 8).serialize() + whole(caller, ECHO, 13))
        assert caller.reply(13).data == message(b"x")


@pytest.mark.parametrize("kind", KINDS)
def test_connections_over_the_limit_are_closed_and_others_go_on(kind: str) -> None:
    with serving(kind, max_connections=3) as site:
        callers = [RawConnection(site.address) for _ in range(6)]
        closed = 0
        for caller in callers:
            caller.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        for caller in callers:
            caller.send(whole(caller, ECHO, 1))
            closed += caller.reply().data != message(b"x")
        assert closed == 3
        for caller in callers:
            caller.socket.close()


def test_a_caller_that_answers_no_ping_is_given_up() -> None:
    with (
        serving("native", keepalive_time_s=1.0, keepalive_timeout_s=1.0) as site,
        RawConnection.greeted(site.address) as dead,
    ):
        dead.send(opened(dead, HANG, 1))
        assert site.event() == "began"
        assert site.event() == "cancelled"
        dead.until_closed(_TIMEOUT_S)


@pytest.mark.parametrize("kind", KINDS)
def test_a_caller_that_answers_pings_may_be_silent(kind: str) -> None:
    with (
        serving(kind, keepalive_time_s=1.0, keepalive_timeout_s=10.0) as site,
        RawConnection.greeted(site.address) as caller,
    ):
        caller.send(opened(caller, HANG, 1))
        assert site.event() == "began"
        pings = 0
        while pings < 2:
            frame = caller.next_frame(0)
            if isinstance(frame, PingFrame):
                pings += 1
                caller.send(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
        caller.send(whole(caller, ECHO, 3))
        assert caller.reply(3).data == message(b"x")


def goaway(connection: RawConnection) -> GoAwayFrame:
    """The next GOAWAY; answers no ping."""
    while True:
        frame = connection.next_frame(0)
        if isinstance(frame, GoAwayFrame):
            return frame


def ping(connection: RawConnection) -> PingFrame:
    """The next ping of the server's."""
    while True:
        frame = connection.next_frame(0)
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            return frame


def test_a_goaway_comes_in_two_steps_so_that_no_call_is_lost() -> None:
    """A call that crosses the first GOAWAY is served; grpc.aio would refuse it."""
    with serving("native") as site, RawConnection.greeted(site.address) as caller:
        caller.send(opened(caller, CHAT, 1) + DataFrame(1, message(b"a")).serialize())
        caller.until_message()
        with stopping(site):
            first = goaway(caller)
            assert (first.last_stream_id, first.error_code) == (EVERY_STREAM, 0)
            asked = ping(caller)
            caller.send(whole(caller, ECHO, 3))
            assert caller.reply(3).data == message(b"x")
            caller.send(PingFrame(0, asked.opaque_data, flags=["ACK"]).serialize())
            last = goaway(caller)
            assert (last.last_stream_id, last.error_code) == (3, 0)
            end = DataFrame(1, message(b"b"))
            end.flags.add("END_STREAM")
            caller.send(end.serialize())
            assert caller.reply(1).headers[b"grpc-status"] == b"0"
            caller.until_closed(_TIMEOUT_S)


@pytest.mark.parametrize("kind", KINDS)
def test_a_front_that_stops_ends_what_is_left_after_the_grace(kind: str) -> None:
    with serving(kind) as site, grpc.insecure_channel(site.address) as channel:
        call = channel.unary_unary(path("Hang")).future(b"", timeout=_TIMEOUT_S)
        assert site.event() == "began"
        with stopping(site, grace_s=0.2):
            assert call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert site.event() == "cancelled"
        with pytest.raises(grpc.RpcError) as raised, grpc.insecure_channel(site.address) as late:
            late.unary_unary(path("Echo"))(b"", timeout=_TIMEOUT_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_is_renewed_when_it_is_old(kind: str) -> None:
    """Its calls have the grace to end."""
    limits = {"max_connection_age_s": 1.0, "max_connection_age_grace_s": 1.0}
    with serving(kind, **limits) as site, RawConnection.greeted(site.address) as caller:
        caller.send(opened(caller, HANG, 1))
        assert site.event() == "began"
        assert goaway(caller).last_stream_id == EVERY_STREAM
        assert site.event() == "cancelled"
        caller.until_closed(_TIMEOUT_S)


@pytest.mark.parametrize("kind", KINDS)
def test_clients_go_on_over_connections_that_are_renewed(kind: str) -> None:
    with serving(kind, max_connection_age_s=1.0) as site:
        peers = set()
        with grpc.insecure_channel(site.address) as channel:
            headers = channel.unary_unary(path("Headers"))
            give_up = time.monotonic() + _TIMEOUT_S
            while len(peers) < 3 and time.monotonic() < give_up:
                peers.add(json.loads(headers(b"", timeout=_TIMEOUT_S))["peer"])
        assert len(peers) == 3


class stopping:  # noqa: N801
    """Stops the front in its loop while the block runs, and waits for that."""

    def __init__(self, site: Site, grace_s: float = 15.0) -> None:
        self._thread = threading.Thread(target=lambda: site.run(lambda: site.stop(grace_s)))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(_TIMEOUT_S)
        assert not self._thread.is_alive()


# Addresses


def test_a_unix_socket_serves_and_a_dead_one_is_replaced() -> None:
    with short_folder() as folder:
        listen = f"unix:{folder}/s"
        for _ in range(2):  # the socket stays behind
            with serving("native", listen) as site, grpc.insecure_channel(listen) as channel:
                assert site.address == listen
                reply = channel.unary_unary(path("Headers"))(b"", timeout=_TIMEOUT_S)
                assert json.loads(reply)["peer"].startswith("unix:")
                with pytest.raises(OSError, match="in use"):
                    listening_sockets(listen, reuse_port=False)


def test_ipv6_and_names_with_several_addresses() -> None:
    if not socket.has_ipv6 or not _has_ipv6_loopback():
        with serving("native", "localhost:0") as site, grpc.insecure_channel(site.address) as one:
            assert one.unary_unary(path("Echo"))(b"x", timeout=_TIMEOUT_S) == b"x"
        return
    with serving("native", "[::1]:0") as site, grpc.insecure_channel(site.address) as channel:
        reply = channel.unary_unary(path("Headers"))(b"", timeout=_TIMEOUT_S)
        assert json.loads(reply)["peer"].startswith("ipv6:%5B::1%5D:")


async def test_a_front_serves_several_addresses() -> None:
    front = NativeFront(
        Handlers(Site("native")).find, ["127.0.0.1:0", "127.0.0.2:0"], LIMITS, reuse_port=False
    )
    await front.start()
    try:
        for address in front.addresses:
            async with grpc.aio.insecure_channel(address) as channel:
                assert await channel.unary_unary(path("Echo"))(b"x", timeout=_TIMEOUT_S) == b"x"
    finally:
        await front.stop(0)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_connection_that_comes_as_the_front_stops_is_closed() -> None:
    for _ in range(5):
        with serving("native") as site:
            host, _, port = site.address.rpartition(":")
            late = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
        with late, suppress(ConnectionResetError):
            while late.recv(65_536):
                pass
    gc.collect()  # warns of a transport that is open


def test_a_connection_is_freed_at_its_end_without_the_garbage_collector() -> None:
    def connections() -> dict[int, weakref.ref[NativeConnection | Session]]:
        found = [one for one in gc.get_objects() if isinstance(one, NativeConnection | Session)]
        return {id(one): weakref.ref(one) for one in found}

    with serving("native") as site:
        gc.collect()
        gc.disable()
        try:
            before = connections()  # those of earlier tests may be freed meanwhile
            with RawConnection.greeted(site.address) as caller:
                caller.send(opened(caller, HANG, 1))
                assert site.event() == "began"
                own = [one for key, one in connections().items() if key not in before]
                assert len(own) == 2
                time.sleep(TICK_S * LONGEST_PAUSE + 0.1)  # the front has looked at it
            assert site.event() == "cancelled"
            eventually(lambda: not any(one() for one in own), "both are freed")
        finally:
            gc.enable()


def test_an_address_in_use_is_an_error() -> None:
    with serving("native") as site, pytest.raises(OSError, match="in use"):
        listening_sockets(site.address, reuse_port=False)[1][0].listen()


def _has_ipv6_loopback() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True
