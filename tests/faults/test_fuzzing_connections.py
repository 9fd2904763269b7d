"""Bytes on the gateway's port that are not gRPC; callers that are slow, silent, or too many."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import grpc
import pytest
from hpack import Encoder
from hyperframe.frame import PingFrame, RstStreamFrame, SettingsFrame
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.faults.fuzzed import Fuzzed, fuzzed_system
from tests.faults.mutations import mutated
from tests.faults.raw_http2 import PREFACE, RawConnection, message, request_frames, request_headers
from tests.harness import eventually

ADD = b"/forebay.compute.v1.ComputeService/Add"
SUM = message(AddRequest(x=4, y=6).SerializeToString())
CONNECTIONS = 2000
AT_ONCE = 250
FUZZ = settings(
    max_examples=150,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def system() -> Iterator[Fuzzed]:
    with fuzzed_system() as running:
        yield running


def whole_request() -> bytes:
    """A connection's first bytes, with a call of Add in them."""
    frames = request_frames(Encoder(), request_headers(ADD), SUM)
    return PREFACE + SettingsFrame(0).serialize() + b"".join(frames)


def test_a_raw_request_is_answered(system: Fuzzed) -> None:
    """A valid request succeeds: so this client's other requests are refused for their content."""
    with RawConnection.greeted(system.address) as connection:
        connection.send(b"".join(connection.request(request_headers(ADD), SUM)))
        reply = connection.reply()
    assert reply.headers[b"grpc-status"] == b"0"
    assert len(reply.data) > 5


def test_bytes_that_are_not_http2_do_no_harm(system: Fuzzed) -> None:
    """Garbage before the preface and after it, and a mutated valid request."""
    garbage = st.binary(max_size=200)
    frames = st.builds(
        lambda kind, flags, stream, body: (
            struct.pack(">I", len(body))[1:]
            + bytes([kind, flags])
            + struct.pack(">I", stream)
            + body
        ),
        *[st.integers(0, 12), st.integers(0, 255), st.integers(0, (1 << 32) - 1), garbage],
    )
    sent = st.one_of(
        garbage,
        st.builds(lambda rest: PREFACE + rest, garbage),
        st.lists(frames, max_size=8).map(lambda all_: PREFACE + b"".join(all_)),
        mutated(st.just(whole_request()), most=6),
    )

    @FUZZ
    @given(sent=sent, half_close=st.booleans())
    def holds(sent: bytes, half_close: bool) -> None:
        connection = RawConnection(system.address)
        if connection.send(sent) and half_close:
            connection.socket.shutdown(socket.SHUT_WR)
            connection.reply()
        connection.socket.close()

    with system.unharmed():
        holds()
        eventually(system.answers, "callers reach it, had it to be started again")


ODD_HEADERS = {
    "a path without a slash": request_headers(b"nothing"),
    "an empty path": request_headers(b""),
    "a long path": request_headers(b"/" + b"x" * 4000),
    "no path": [pair for pair in request_headers(ADD) if pair[0] != b":path"],
    "another content type": request_headers(ADD, (b"content-type", b"text/html")),
    "a text that is no ASCII": request_headers(ADD, (b"x-wish", b"\xff\x00\xfe")),
    "an id that is no ASCII": request_headers(ADD, (b"forebay-call-id", b"\xff\xfe")),
    "bytes that are no base64": request_headers(ADD, (b"x-bin", b"!!!!")),
    "trace bytes that are no base64": request_headers(ADD, (b"grpc-trace-bin", b"=")),
    "an upper-case key": request_headers(ADD, (b"X-Wish", b"x")),
    "an empty key": request_headers(ADD, (b"", b"x")),
    "a timeout without a unit": request_headers(ADD, (b"grpc-timeout", b"10")),
    "a timeout that is none": request_headers(ADD, (b"grpc-timeout", b"soon")),
    "an endless timeout": request_headers(ADD, (b"grpc-timeout", b"99999999999999H")),
    "a timeout that has passed": request_headers(ADD, (b"grpc-timeout", b"-1S")),
    "an unknown encoding": request_headers(ADD, (b"grpc-encoding", b"nonsense")),
    "thousands of keys": request_headers(ADD, *[(b"x-%d" % n, b"y") for n in range(4000)]),
    "100 KB": request_headers(ADD, (b"x-long", b"y" * 100_000)),
    "10 MB": request_headers(ADD, *[(b"x-%d" % n, b"y" * 100_000) for n in range(100)]),
}


@pytest.mark.parametrize("case", ODD_HEADERS)
def test_odd_headers_get_a_status_or_a_closed_stream(system: Fuzzed, case: str) -> None:
    with system.unharmed(), RawConnection.greeted(system.address) as connection:
        connection.send(b"".join(connection.request(ODD_HEADERS[case], SUM)))
        reply = connection.reply()
    assert reply.ended_properly, reply
    grpc_message = reply.headers.get(b"grpc-message", b"")
    assert b"Traceback" not in grpc_message
    assert b".py" not in grpc_message
    assert reply.headers.get(b"grpc-status") != b"2", grpc_message


@pytest.mark.parametrize(
    "body",
    [
        struct.pack(">?I", False, 1 << 31),
        message(b"\xff\xff"),
        b"\x01\0\0\0\x01x",
        b"\x7f" * 9,
    ],
    ids=["2 GB announced", "no message", "compressed by nobody", "odd flags"],
)
def test_odd_bodies_get_a_status_or_a_closed_stream(system: Fuzzed, body: bytes) -> None:
    with system.unharmed(), RawConnection.greeted(system.address) as connection:
        connection.send(b"".join(connection.request(request_headers(ADD), body)))
        reply = connection.reply()
    assert reply.ended_properly, reply
    assert b"Traceback" not in reply.headers.get(b"grpc-message", b"")


def test_a_path_that_is_no_utf8_does_not_end_the_gateway(system: Fuzzed) -> None:
    """It ends a server of grpc.aio, which another one replaces; the native front logs nothing."""
    before = len(system.gateway.output)
    replaced = 1 if os.environ.get("FOREBAY_FRONT") == "grpc" else 0

    def logged(text: str) -> int:
        return system.gateway.output[before:].count(text)

    for times in range(1, 4):
        with RawConnection.greeted(system.address) as connection:
            frames = connection.request(request_headers(b"/\xff\xfe/\x80"), SUM)
            connection.send(b"".join(frames))
            assert connection.reply().ended_properly
        eventually(
            lambda times=times: logged("failed; replacing it") == times * replaced,  # type: ignore[misc]
            "a server that failed is replaced",
        )
    eventually(system.answers, "callers reach it again")
    with system.unharmed():
        pass
    assert replaced or not logged("Traceback")


def test_an_incomplete_message_does_not_delay_other_callers(system: Fuzzed) -> None:
    """A message that breaks off occupies gRPC's core until its caller disconnects."""
    with system.unharmed(), ExitStack() as stack:
        for body in (b"\0", SUM[:-1]) * 20:
            connection = stack.enter_context(RawConnection.greeted(system.address))
            connection.send(b"".join(connection.request(request_headers(ADD), body)))
        system.works()


def test_slow_clients_do_not_block_the_gateway(system: Fuzzed) -> None:
    """Many connections send one byte each in turn; all are answered in the end."""
    whole = whole_request()
    with system.unharmed(), ExitStack() as stack:
        slow = [RawConnection(system.address) for _ in range(30)]
        for connection in slow:
            stack.callback(connection.socket.close)
        for at, byte in enumerate(whole):
            for connection in slow:
                assert connection.send(bytes([byte]))
            if at % 50 == 0:
                system.works()
        assert [one.reply().headers[b"grpc-status"] for one in slow] == [b"0"] * len(slow)


def test_streams_that_nobody_reads_hold_little_memory(system: Fuzzed) -> None:
    """24 streams of 200 MB each: the gateway holds about a window and a fetch of each.

    The limit is 4 MB a stream: the window of 1 MB, a fetch of 2 MB, and gRPC's own buffers.
    """
    request = message(EchoRequest(count=2000, padding=100_000).SerializeToString())
    path = b"/tests.echo.v1.EchoService/ServerStream"
    with system.unharmed(), ExitStack() as stack:
        before = system.rss
        for _ in range(24):
            connection = stack.enter_context(RawConnection.greeted(system.address))
            connection.send(b"".join(connection.request(request_headers(path), request)))
            connection.socket.recv(1)  # it has begun; no more is read
        held: list[int] = []

        def join() -> bool:
            system.works()
            held.append(system.rss)
            return len(held) > 30 and max(held[-20:]) - min(held[-20:]) < 1 << 20

        eventually(join, "nothing more comes in")
        assert max(held) - before < 24 * (4 << 20)


def test_thousands_of_connections_are_opened_and_dropped(system: Fuzzed) -> None:
    """Connections are dropped at each point of a request, some with a reset."""
    whole = whole_request()
    with system.unharmed():
        for start in range(0, CONNECTIONS, AT_ONCE):
            batch = [RawConnection(system.address) for _ in range(AT_ONCE)]
            for number, connection in enumerate(batch, start):
                connection.send(whole[: number % (len(whole) + 1)])
            for number, connection in enumerate(batch):
                if number % 3 == 0:  # a reset, as of a caller that crashed
                    linger = struct.pack("ii", 1, 0)
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.socket.close()


def test_thousands_of_streams_are_reset_at_once(system: Fuzzed) -> None:
    """Streams begin and are reset on one connection, faster than they can be answered."""
    with system.unharmed(), RawConnection.greeted(system.address) as connection:
        for stream in range(1, 2 * CONNECTIONS, 2):
            headers, *_ = connection.request(request_headers(ADD), stream=stream)
            reset = RstStreamFrame(stream, error_code=8).serialize()
            if not connection.send(headers + reset):
                break  # the gateway may close the connection
        # While more than 1,000 calls wait to be accepted, gRPC's core drops some of any caller.
        eventually(lambda: all(system.answers() for _ in range(20)), "the flood has run off")


def test_thousands_of_pings_and_settings_do_no_harm(system: Fuzzed) -> None:
    with system.unharmed(), RawConnection.greeted(system.address) as connection:
        flood = PingFrame(0, b"12345678").serialize() + SettingsFrame(0).serialize()
        for _ in range(CONNECTIONS):
            if not connection.send(flood):
                break


async def abandoned(address: str, calls: int) -> None:
    """A channel whose calls are begun and abandoned."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = ComputeServiceStub(channel)
        begun = [stub.Add(AddRequest(x=number, y=1), timeout=30) for number in range(calls)]
        await channel.channel_ready()
        for call in begun[1:]:
            call.cancel()
        if begun:
            await begun[0]


def test_channels_whose_calls_are_abandoned_leave_nothing(system: Fuzzed) -> None:
    async def all_of_them() -> None:
        for _ in range(10):
            await asyncio.gather(*[abandoned(system.address, 10) for _ in range(30)])

    with system.unharmed():
        thread = threading.Thread(target=asyncio.run, args=(all_of_them(),))
        thread.start()
        thread.join()


def test_a_disconnect_at_the_end_of_a_call_logs_no_error(system: Fuzzed) -> None:
    """No status can be sent after a disconnect; the gateway must not log that as an error."""

    async def disconnects(stub: EchoServiceStub, timeout: float) -> None:
        with suppress(grpc.RpcError):
            async for _ in stub.ServerStream(EchoRequest(act="abort"), timeout=timeout):
                pass

    async def all_of_them() -> None:
        async with grpc.aio.insecure_channel(system.address) as channel:
            stub = EchoServiceStub(channel)
            for number in range(100):
                timeouts = [0.002 + 0.0002 * (number + 17 * one) for one in range(8)]
                await asyncio.gather(*[disconnects(stub, timeout) for timeout in timeouts])

    before = len(system.gateway.output)
    with system.unharmed():
        asyncio.run(all_of_them())
    assert "Traceback" not in system.gateway.output[before:]
