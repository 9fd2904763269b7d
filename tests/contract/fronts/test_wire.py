"""What no gRPC client sends, and how the fronts put what they send on the wire."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator

import grpc
import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame

from tests.contract.fronts.site import KINDS, MIB, Site, path, serving
from tests.faults.raw_http2 import (
    PREFACE,
    Header,
    RawConnection,
    Reply,
    message,
    request_frames,
    request_headers,
)
from tests.harness import eventually

OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED = b"0", b"1", b"3", b"4"
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = b"8", b"12", b"13"
ENHANCE_YOUR_CALM = 0xB
ECHO, HEADERS, HANG, QUIET = (path(name).encode() for name in ("Echo", "Headers", "Hang", "Quiet"))

ONLY_NATIVE = pytest.mark.parametrize("site", ["native"], indirect=True, scope="session")
"""gRPC's own server does it otherwise: docs/upstream.md has its faults among these."""


@pytest.fixture
def connection(site: Site) -> Iterator[RawConnection]:
    with RawConnection.greeted(site.address) as connection:
        yield connection


def ask(
    connection: RawConnection, body: bytes, *more: Header, to: bytes = ECHO, stream: int = 1
) -> Reply:
    connection.send(b"".join(connection.request(request_headers(to, *more), body, stream)))
    return connection.reply(stream)


def still_serves(connection: RawConnection, stream: int = 3) -> bool:
    return ask(connection, message(b"on"), stream=stream).data == message(b"on")


def head(connection: RawConnection, to: bytes, *more: Header, stream: int = 1) -> bytes:
    """The headers of a request, in a frame."""
    return connection.request(request_headers(to, *more), b"", stream)[0]


def data(payload: bytes, stream: int = 1, *, end: bool = False) -> bytes:
    frame = DataFrame(stream, payload)
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


# What is sent


def test_a_response_is_headers_data_and_trailers(connection: RawConnection) -> None:
    connection.send(b"".join(connection.request(request_headers(ECHO), message(b"abc"))))
    frames = connection.frames_until_end(1)
    kinds = [type(frame).__name__ for frame in frames]
    assert kinds == ["HeadersFrame", "DataFrame", "HeadersFrame"]
    first, last = (connection.decoded(frame) for frame in (frames[0], frames[2]))
    assert first[b":status"] == b"200"
    assert first[b"content-type"] == b"application/grpc"
    assert {b"identity", b"deflate", b"gzip"} == set(
        first[b"grpc-accept-encoding"].replace(b" ", b"").split(b",")
    )
    assert last[b"grpc-status"] == OK
    assert frames[1].data == message(b"abc")


def test_an_error_before_any_response_is_trailers_only(connection: RawConnection) -> None:
    to = path("Abort").encode()
    connection.send(b"".join(connection.request(request_headers(to), message(b"ABORTED\n%"))))
    (frame,) = connection.frames_until_end(1)
    headers = connection.decoded(frame)
    assert headers[b":status"] == b"200"
    assert (headers[b"grpc-status"], headers[b"grpc-message"]) == (b"10", b"%25")
    assert b"=" not in headers[b"why-bin"] or headers[b"why-bin"] == b"/w=="


def test_a_stream_that_its_caller_left_open_is_reset_without_an_error(
    connection: RawConnection,
) -> None:
    connection.send(head(connection, path("Silent").encode()))
    frames = connection.frames_until_end(1)
    reset = connection.next_frame(1)
    assert "END_STREAM" in frames[-1].flags
    assert isinstance(reset, RstStreamFrame)
    assert reset.error_code == 0


# Frames and messages


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_message_may_be_split_over_any_frames(connection: RawConnection, size: int) -> None:
    whole = message(b"abcdefghij")
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    connection.send(head(connection, ECHO))
    for part in parts:
        connection.send(data(part))
        connection.send(data(b""))
    connection.send(data(b"", end=True))
    assert connection.reply().data == whole


def test_a_frame_may_hold_many_messages_and_a_part(connection: RawConnection) -> None:
    chat = path("Chat").encode()
    every = b"".join(message(b"%d" % number) for number in range(50))
    connection.send(head(connection, chat) + data(every[:-3]))
    connection.send(data(every[-3:], end=True))
    assert connection.reply().data == every


@ONLY_NATIVE
def test_padding_is_passed_over(connection: RawConnection) -> None:
    frame = DataFrame(1, message(b"abc"), pad_length=200)
    frame.flags.add("PADDED")
    connection.send(head(connection, ECHO) + frame.serialize() + data(b"", end=True))
    assert connection.reply().data == message(b"abc")


def test_trailers_of_a_request_end_it(connection: RawConnection) -> None:
    connection.send(head(connection, ECHO) + data(message(b"abc")))
    trailers = HeadersFrame(1, connection.encoded([(b"checksum", b"1")]))
    trailers.flags.add("END_HEADERS")
    trailers.flags.add("END_STREAM")
    connection.send(trailers.serialize())
    assert connection.reply().data == message(b"abc")


def test_bytes_one_at_a_time(site: Site) -> None:
    with RawConnection.greeted(site.address) as connection:
        for byte in b"".join(connection.request(request_headers(ECHO), message(b"abc"))):
            connection.send(bytes((byte,)))
        assert connection.reply().data == message(b"abc")


def test_a_request_that_ends_within_a_message_is_no_success(connection: RawConnection) -> None:
    reply = ask(connection, message(b"abc")[:-1])
    assert reply.headers.get(b"grpc-status", INTERNAL) != OK
    assert still_serves(connection)


@ONLY_NATIVE
@pytest.mark.parametrize("flag", [2, 0x80, 0xFF])
def test_an_unknown_flag_of_a_message_is_an_error(connection: RawConnection, flag: int) -> None:
    reply = ask(connection, bytes((flag,)) + message(b"abc")[1:])
    assert reply.headers.get(b"grpc-status", INTERNAL) not in (OK,)
    assert still_serves(connection)


def test_a_length_over_the_limit_is_refused_before_the_message_comes(
    connection: RawConnection,
) -> None:
    connection.send(head(connection, ECHO) + data(b"\0\xff\xff\xff\xff"))
    assert connection.reply().headers[b"grpc-status"] == RESOURCE_EXHAUSTED
    assert still_serves(connection)


# Compression


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [(b"gzip", gzip.compress(b"abc", mtime=0)), (b"deflate", zlib.compress(b"abc"))],
)
def test_messages_may_be_compressed_each_for_itself(
    connection: RawConnection, encoding: bytes, packed: bytes
) -> None:
    body = b"\1" + message(packed)[1:] + message(b"plain")
    connection.send(head(connection, path("Chat").encode(), (b"grpc-encoding", encoding)))
    connection.send(data(body, end=True))
    assert connection.reply().data == message(b"abc") + message(b"plain")


@ONLY_NATIVE
def test_a_bomb_is_refused(connection: RawConnection) -> None:
    bomb = b"\1" + message(gzip.compress(bytes(50 * MIB), 9))[1:]
    connection.send(head(connection, ECHO, (b"grpc-encoding", b"gzip")))
    for at in range(0, len(bomb), 16_000):
        connection.send(data(bomb[at : at + 16_000]))
    assert connection.reply().headers[b"grpc-status"] == RESOURCE_EXHAUSTED


@ONLY_NATIVE
def test_an_encoding_that_is_not_supported_is_unimplemented(connection: RawConnection) -> None:
    reply = ask(connection, message(b"abc"), (b"grpc-encoding", b"snappy"))
    assert reply.headers[b"grpc-status"] == UNIMPLEMENTED
    assert b"gzip" in reply.headers[b"grpc-accept-encoding"]
    assert still_serves(connection)


@ONLY_NATIVE
@pytest.mark.parametrize("packed", [b"no gzip", gzip.compress(b"abc", mtime=0)[:-4], b""])
def test_a_message_that_is_not_of_its_encoding_is_an_error(
    connection: RawConnection, packed: bytes
) -> None:
    reply = ask(connection, b"\1" + message(packed)[1:], (b"grpc-encoding", b"gzip"))
    assert reply.ended_properly
    assert reply.headers.get(b"grpc-status") != OK
    assert still_serves(connection)


# Headers


@pytest.mark.parametrize(
    ("timeout", "left_s"),
    [
        (b"99H", 99 * 3600),
        (b"100M", 6_000),
        (b"100S", 100),
        (b"100000m", 100),
        (b"99999999u", 100),
        (b"99999999n", None),
    ],
)
def test_deadlines_come_in_all_units(
    connection: RawConnection, timeout: bytes, left_s: float | None
) -> None:
    reply = ask(connection, message(b""), (b"grpc-timeout", timeout), to=HEADERS)
    if left_s is None:  # 0.1 s
        assert reply.headers[b"grpc-status"] in (OK, DEADLINE_EXCEEDED)
        return
    seen = json.loads(reply.data[5:])["left_s"]
    assert left_s - 30 < seen <= left_s * 1.01


def test_a_deadline_beyond_all_clocks_is_none_to_speak_of(connection: RawConnection) -> None:
    reply = ask(connection, message(b""), (b"grpc-timeout", b"99999999H"), to=HEADERS)
    left_s = json.loads(reply.data[5:])["left_s"]
    assert left_s is None or left_s > 86_400


@pytest.mark.parametrize("timeout", [b"0S", b"1n"])
def test_a_deadline_that_has_passed_ends_its_call(
    connection: RawConnection, timeout: bytes
) -> None:
    reply = ask(connection, message(b""), (b"grpc-timeout", timeout), to=QUIET)
    assert reply.headers.get(b"grpc-status", DEADLINE_EXCEEDED) == DEADLINE_EXCEEDED


@pytest.mark.parametrize("timeout", [b"", b"1", b"S", b"-1S", b"1s", b"1 S", b"\xff"])
def test_a_deadline_that_is_none_stops_nothing_else(
    connection: RawConnection, timeout: bytes
) -> None:
    assert ask(connection, message(b"abc"), (b"grpc-timeout", timeout)).ended_properly
    assert still_serves(connection)


@ONLY_NATIVE
def test_bytes_in_metadata_may_be_padded_and_joined(connection: RawConnection) -> None:
    more = ((b"a-bin", b"AAE="), (b"b-bin", b"AAE"), (b"c-bin", b"AA,AQ=="))
    reply = ask(connection, message(b""), *more, to=HEADERS)
    pairs = [pair for pair in json.loads(reply.data[5:])["pairs"] if pair[0].endswith("-bin")]
    assert pairs == [["a-bin", "0001"], ["b-bin", "0001"], ["c-bin", "00"], ["c-bin", "01"]]


@pytest.mark.parametrize(
    "value", [b" leading", b"trailing ", b"tab\there", b"\x01", b"\x7f", b"\xff", "ü".encode()]
)
def test_an_odd_value_harms_at_most_its_own_call(connection: RawConnection, value: bytes) -> None:
    """HTTP/2 has no blanks at the ends of a value; gRPC lets servers strip or refuse them."""
    assert ask(connection, message(b"abc"), (b"odd", value)).ended_properly
    assert still_serves(connection)


@ONLY_NATIVE
@pytest.mark.parametrize(
    "odd",
    [(b"a", b" x"), (b"a", b"x "), (b"a", b"\tx"), (b"A", b"x"), (b"a", b"\0"), (b":a", b"x")],
)
def test_headers_that_http2_does_not_allow_get_a_status(
    connection: RawConnection, odd: Header
) -> None:
    """nghttp2 resets the stream; gRPC clients would show INTERNAL without a reason."""
    for stream in (1, 3):
        reply = ask(connection, message(b"abc"), odd, stream=stream)
        assert reply.headers[b"grpc-status"] == INVALID_ARGUMENT
        assert b"blank" in reply.headers[b"grpc-message"]
        assert not reply.reset
    assert still_serves(connection, stream=5)


def test_a_blank_at_an_end_of_a_value_is_kept_or_has_a_clear_status(
    channel: grpc.Channel,
) -> None:
    call = channel.unary_unary(path("Echo")).future(b"x", 20.0, metadata=(("a", " x "),))
    if call.code() is grpc.StatusCode.OK:
        assert call.result() == b"x"
    else:
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "blank" in call.details()


def test_a_request_that_is_none_and_is_reset_at_once_harms_nothing(
    connection: RawConnection,
) -> None:
    reset = RstStreamFrame(1, 8).serialize()
    connection.send(head(connection, ECHO, (b"a-bin", b"!!")) + reset)
    assert still_serves(connection)


def test_bytes_that_are_no_base64_end_their_call_alone(connection: RawConnection) -> None:
    reply = ask(connection, message(b"abc"), (b"a-bin", b"!!"))
    assert reply.ended_properly
    assert reply.headers.get(b"grpc-status") != OK
    assert still_serves(connection)


@ONLY_NATIVE
def test_large_headers_end_their_call_alone(connection: RawConnection) -> None:
    reply = ask(connection, message(b"abc"), (b"large", b"x" * 40_000))
    assert reply.ended_properly
    assert reply.headers.get(b"grpc-status", RESOURCE_EXHAUSTED) == RESOURCE_EXHAUSTED
    assert still_serves(connection)


@ONLY_NATIVE
def test_headers_beyond_all_limits_end_the_connection_and_say_which_calls_were_served(
    site: Site, connection: RawConnection
) -> None:
    """A client may repeat calls over the last stream of a GOAWAY, since they were not served."""
    assert ask(connection, message(b"abc"), stream=1).data
    connection.send(head(connection, HANG, stream=3) + data(message(b""), 3))
    assert site.event() == "began"
    large = [(b"a%d" % number, b"x" * 30_000) for number in range(20)]
    connection.send(b"".join(connection.request(request_headers(ECHO, *large), b"", 5)))
    while not isinstance(frame := connection.next_frame(0), GoAwayFrame):
        pass
    assert (frame.last_stream_id, frame.error_code) == (3, ENHANCE_YOUR_CALM)
    assert site.event() == "cancelled"


@ONLY_NATIVE
def test_a_path_that_is_no_text_is_unimplemented(connection: RawConnection) -> None:
    """A server of grpc.aio fails, and is replaced: test_replaced_server.py."""
    reply = ask(connection, message(b"abc"), to=b"/\xff\xfe")
    assert reply.headers[b"grpc-status"] == UNIMPLEMENTED
    assert still_serves(connection)


@pytest.mark.parametrize("content_type", [b"application/grpc+proto", b"application/grpc;charset=x"])
def test_content_types_of_grpc_are_served(connection: RawConnection, content_type: bytes) -> None:
    headers = [
        (key, content_type if key == b"content-type" else value)
        for key, value in request_headers(ECHO)
    ]
    connection.send(b"".join(connection.request(headers, message(b"abc"))))
    assert connection.reply().data == message(b"abc")


# Cancels


def test_a_reset_cancels_the_handler(site: Site, connection: RawConnection) -> None:
    connection.send(head(connection, HANG))
    assert site.event() == "began"
    connection.send(RstStreamFrame(1, 8).serialize())
    assert site.event() == "cancelled"
    assert still_serves(connection)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_at_once_leaves_nothing(kind: str) -> None:
    with serving(kind) as site, RawConnection.greeted(site.address) as connection:
        for stream in range(1, 99, 2):
            reset = RstStreamFrame(stream, 8).serialize()
            connection.send(head(connection, HANG, stream=stream) + reset)
        assert still_serves(connection, stream=101)

        def all_cancelled() -> bool:
            seen = list(site.events.queue)
            return seen.count("began") == seen.count("cancelled")

        eventually(all_cancelled, "each handler that began is cancelled")


def test_a_half_closed_stream_still_gets_its_responses(connection: RawConnection) -> None:
    count = path("Count").encode()
    reply = ask(connection, message(b"3 1"), to=count)
    assert reply.data == b"".join(message(bytes((number,))) for number in range(3))
    assert reply.headers[b"grpc-status"] == OK


# Garbage


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(1000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGARBAGE-GARBAGE-GARBAGE",
        PREFACE + PingFrame(0, bytes(8)).serialize(),
        PREFACE + data(b"x"),
        PREFACE + b"\0\0\0\1\4\0\0\0\0",
        PREFACE + b"\xff\xff\xff\0\0\0\0\0\1",
    ],
)
def test_garbage_ends_its_connection_alone(site: Site, garbage: bytes) -> None:
    broken = RawConnection(site.address)
    broken.send(garbage)
    broken.until_closed(20.0)
    broken.socket.close()
    with RawConnection.greeted(site.address) as connection:
        assert still_serves(connection, stream=1)


def test_frames_of_unknown_kinds_are_passed_over(connection: RawConnection) -> None:
    unknown = b"\0\0\4\xfa\0\0\0\0\0abcd"
    connection.send(unknown * 10 + head(connection, ECHO) + unknown)
    connection.send(data(message(b"abc"), end=True))
    assert connection.reply().data == message(b"abc")


@ONLY_NATIVE
def test_a_stream_id_that_goes_back_ends_the_connection(connection: RawConnection) -> None:
    assert ask(connection, message(b"abc"), stream=5).data
    encoder = Encoder()
    connection.send(b"".join(request_frames(encoder, request_headers(ECHO), b"", 2)))
    assert connection.reply(2).gone
