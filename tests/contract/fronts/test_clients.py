"""RPCs of real clients: kinds, metadata, deadlines, cancels, statuses, compression, sizes."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import grpc
import grpclib.client
import grpclib.exceptions
import pytest

from tests.contract.fronts.site import MIB, Site, path
from tests.harness import eventually

CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
_TIMEOUT_S = 20.0
SHORT_S = 1.0
"""A deadline that passes in a handler: the request needs time to get there."""


def ask(channel: grpc.Channel, name: str, request: bytes = b"", **options: Any) -> bytes:
    response: bytes = channel.unary_unary(path(name))(request, **{"timeout": _TIMEOUT_S, **options})
    return response


def failure(channel: grpc.Channel, name: str, request: bytes = b"", **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as raised:
        ask(channel, name, request, **options)
    return raised.value


# Kinds


@pytest.mark.parametrize("size", [0, 1, 100, 65_530, MIB, 4 * MIB])
def test_a_unary_call_of_any_size(channel: grpc.Channel, size: int) -> None:
    assert ask(channel, "Echo", bytes(size)) == bytes(size)


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 5), (300, 10), (20, MIB)])
def test_a_stream_of_requests(channel: grpc.Channel, count: int, size: int) -> None:
    requests = (bytes(size) for _ in range(count))
    response = channel.stream_unary(path("Sum"))(requests, timeout=_TIMEOUT_S)
    assert response == b"%d %d" % (count, count * size)


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 5), (3_000, 10), (20, MIB)])
def test_a_stream_of_responses(channel: grpc.Channel, count: int, size: int) -> None:
    request = b"%d %d" % (count, size)
    responses = list(channel.unary_stream(path("Count"))(request, timeout=_TIMEOUT_S))
    assert responses == [bytes((number % 256,)) * size for number in range(count)]


def test_both_streams_at_once(channel: grpc.Channel) -> None:
    seen: list[bytes] = []

    def requests() -> Iterator[bytes]:
        for number in range(20):
            yield b"%d" % number
            while len(seen) <= number:
                time.sleep(0.001)

    for response in channel.stream_stream(path("Chat"))(requests(), timeout=_TIMEOUT_S):
        seen.append(response)
    assert seen == [b"%d" % number for number in range(20)]


def test_an_unread_request_does_not_keep_a_response_from_its_caller(channel: grpc.Channel) -> None:
    requests = iter([bytes(MIB)] * 3)
    assert channel.stream_unary(path("Silent"))(requests, timeout=_TIMEOUT_S) == b"done"


def test_many_calls_at_a_time(channel: grpc.Channel) -> None:
    calls = [channel.unary_unary(path("Echo")).future(b"%d" % n, timeout=60) for n in range(500)]
    assert [call.result() for call in calls] == [b"%d" % n for n in range(500)]


# Metadata


def test_metadata_comes_in_its_order_with_bytes_and_repeated_keys(channel: grpc.Channel) -> None:
    sent = (
        ("a", "1"),
        ("b-bin", b"\x00\x01,\xff"),
        ("a", "2"),
        ("empty", ""),
        ("b-bin", b""),
        ("odd", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ x"),
        ("dots.under_score-1", "x"),
        ("long", "x" * 4_000),
    )
    seen = json.loads(ask(channel, "Headers", metadata=sent))["pairs"]
    kept = [tuple(pair) for pair in seen if pair[0] != "user-agent"]
    assert kept == [
        (key, value.hex() if isinstance(value, bytes) else value) for key, value in sent
    ]


def test_initial_and_trailing_metadata_go_to_the_caller(channel: grpc.Channel) -> None:
    _, call = channel.unary_unary(path("Headers")).with_call(b"", timeout=_TIMEOUT_S)
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["initial"] == "1"
    assert initial["initial-bin"] == b"\x00\xff,"
    assert trailing["trailing"] == "a b"
    assert trailing["trailing-bin"] == b"\x01"


def test_metadata_over_the_limit_ends_its_call_alone(channel: grpc.Channel) -> None:
    error = failure(channel, "Echo", metadata=(("large", "x" * 40_000),))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ask(channel, "Echo", b"on") == b"on"


def test_the_peer_is_an_address_as_grpc_writes_it(site: Site, channel: grpc.Channel) -> None:
    peer = json.loads(ask(channel, "Headers"))["peer"]
    assert re.fullmatch(r"ipv4:127\.0\.0\.1:\d+", peer)


# Statuses


@pytest.mark.parametrize("code", CODES)
def test_every_status_comes_with_its_text_and_trailers(
    channel: grpc.Channel, code: grpc.StatusCode
) -> None:
    text = 'odd: 100% "ü" 🙂\n\ttwo lines'
    error = failure(channel, "Abort", f"{code.name}\n{text}".encode())
    assert (error.code(), error.details()) == (code, text)
    trailing = dict(error.trailing_metadata())
    assert (trailing["reason"], trailing["why-bin"]) == ("so", b"\xff")


def test_a_status_without_text(channel: grpc.Channel) -> None:
    error = failure(channel, "Abort", b"NOT_FOUND\n")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "")


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    assert failure(channel, "None").code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_handler_that_fails_is_unknown_and_shows_nothing(channel: grpc.Channel) -> None:
    error = failure(channel, "Fail")
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "secret" not in error.details()


# Deadlines and cancels


def test_a_handler_sees_what_is_left_of_the_deadline(channel: grpc.Channel) -> None:
    assert json.loads(ask(channel, "Headers", timeout=None))["left_s"] is None
    left_s = json.loads(ask(channel, "Headers", timeout=100))["left_s"]
    assert 50 < left_s <= 101  # clients round it up


def test_a_deadline_cancels_the_handler(site: Site, channel: grpc.Channel) -> None:
    assert failure(channel, "Hang", timeout=SHORT_S).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [site.event(), site.event()] == ["began", "cancelled"]


def test_a_cancel_reaches_the_handler(site: Site, channel: grpc.Channel) -> None:
    call = channel.unary_unary(path("Hang")).future(b"", timeout=_TIMEOUT_S)
    assert site.event() == "began"
    call.cancel()
    assert site.event() == "cancelled"


def test_a_cancel_amid_responses_reaches_the_handler(site: Site, channel: grpc.Channel) -> None:
    call = channel.unary_stream(path("HangAfter"))(b"", timeout=_TIMEOUT_S)
    assert next(call) == b"first"
    call.cancel()
    assert site.event() == "cancelled"


def test_a_cancel_frees_a_handler_that_waits_for_a_slow_reader(
    site: Site, channel: grpc.Channel
) -> None:
    call = channel.unary_stream(path("Flood"))(b"", timeout=60)
    assert len(next(call)) == MIB // 16
    call.cancel()
    assert site.event() == "cancelled"


def test_a_cancelled_call_frees_its_request_without_the_garbage_collector(
    site: Site, channel: grpc.Channel
) -> None:
    """A burst of large requests would stay in memory until the collector happens to run."""
    site.held.clear()
    gc.disable()
    try:
        assert failure(channel, "Hold", timeout=SHORT_S).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert [site.event(), site.event()] == ["began", "cancelled"]
        (request,) = site.held
        eventually(lambda: request() is None, "it is freed")
    finally:
        gc.enable()


def test_a_connection_that_closes_cancels_its_handlers(site: Site) -> None:
    with grpc.insecure_channel(site.address) as own:
        call = own.unary_unary(path("Hang")).future(b"", timeout=_TIMEOUT_S)
        assert site.event() == "began"
    assert call.code() is grpc.StatusCode.CANCELLED
    assert site.event() == "cancelled"


# Compression and sizes


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_read(channel: grpc.Channel, algorithm: Any) -> None:
    assert ask(channel, "Echo", bytes(MIB), compression=algorithm) == bytes(MIB)
    requests = iter([bytes(100_000), b"", b"abc" * 1_000])
    call = channel.stream_unary(path("Sum"))
    assert call(requests, timeout=_TIMEOUT_S, compression=algorithm) == b"3 103000"


def test_a_request_over_the_limit_is_refused(channel: grpc.Channel) -> None:
    error = failure(channel, "Echo", bytes(4 * MIB + 1))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    error = failure(channel, "Echo", bytes(64 * MIB), compression=grpc.Compression.Gzip)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ask(channel, "Echo", b"on") == b"on"


def test_a_response_over_the_limit_is_refused(channel: grpc.Channel) -> None:
    assert failure(channel, "Big", b"%d" % (9 * MIB)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# Another implementation of the client


async def test_grpclib_makes_calls_of_all_kinds(site: Site) -> None:
    host, _, port = site.address.rpartition(":")
    async with grpclib.client.Channel(host, int(port)) as channel:

        async def talk(name: str, *requests: bytes, timeout: float = 20.0) -> list[bytes]:
            async with channel.request(
                path(name), grpclib.const.Cardinality.STREAM_STREAM, Raw, Raw, timeout=timeout
            ) as stream:
                await stream.send_request()
                for request in requests:
                    await stream.send_message(Raw(request))
                await stream.end()
                return [message.payload async for message in stream]

        channel._codec = RawCodec()  # type: ignore[assignment]
        assert await talk("Echo", b"abc") == [b"abc"]
        assert await talk("Sum", b"abc", b"de") == [b"2 5"]
        assert await talk("Count", b"3 2") == [b"\0\0", b"\1\1", b"\2\2"]
        assert await talk("Chat", b"a", b"b") == [b"a", b"b"]
        assert await talk("Echo", bytes(MIB)) == [bytes(MIB)]
        with pytest.raises(grpclib.exceptions.GRPCError) as raised:
            await talk("Abort", "NOT_FOUND\nnö".encode())
        assert (raised.value.status, raised.value.message) == (grpclib.const.Status.NOT_FOUND, "nö")
        # The server's clock and the client's end the call at about the same time.
        with pytest.raises(
            (asyncio.TimeoutError, grpclib.exceptions.GRPCError), match=r"^$|Deadline"
        ):
            await talk("Hang", timeout=SHORT_S)
    assert [site.event(), site.event()] == ["began", "cancelled"]


class Raw:
    """A message that is its bytes."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class RawCodec:
    """grpclib's codec for `Raw`."""

    __content_subtype__ = "proto"

    def encode(self, message: Raw, message_type: type[Raw]) -> bytes:
        return message.payload

    def decode(self, data: bytes, message_type: type[Raw]) -> Raw:
        return Raw(data)
