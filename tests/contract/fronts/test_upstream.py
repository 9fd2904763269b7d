"""The faults of docs/upstream.md: where one of these tests fails, it was fixed and can go."""

from __future__ import annotations

from collections.abc import Iterator

import ngh2
import pytest
from hyperframe.frame import DataFrame

from tests.contract.fronts.site import path, serving
from tests.faults.raw_http2 import Header, RawConnection, Reply, message, request_headers

ECHO, CHAT = path("Echo").encode(), path("Chat").encode()
HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"x"),
    (b":path", b"/"),
]


# ngh2


def received(*more: Header, **limits: int) -> ngh2.Connection:
    """A server that has received a request."""
    client = ngh2.Connection(ngh2.Role.CLIENT)
    server = ngh2.Connection(ngh2.Role.SERVER, ngh2.Configuration(**limits))
    for connection in (client, server):
        connection.initiate_connection()
    client.send_request([*HEADERS, *more])
    server.receive_data(client.data_to_send())
    return server


@pytest.mark.parametrize("value", [b" x", b"x ", b"\tx"])
def test_ngh2_resets_a_stream_for_a_blank_at_an_end_of_a_value(value: bytes) -> None:
    server = received((b"a", value))
    server.data_to_send()
    kinds = [type(event) for event in server.events()]
    assert ngh2.StreamClosed in kinds
    assert ngh2.RequestReceived not in kinds


def test_ngh2_ends_the_connection_for_headers_over_its_limit() -> None:
    with pytest.raises(ngh2.DenialOfServiceError):
        received((b"a", b"x" * 2_000), max_inbound_header_list_size=1_000)


def test_ngh2_sends_a_ping_before_a_goaway_that_was_there_first() -> None:
    server = received()
    server.data_to_send()
    server.send_shutdown_notice()
    server.ping()
    ping, goaway = 6, 7
    assert server.data_to_send()[3] == ping != goaway


# grpcio


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving("grpc") as site:
        yield site.address


def answered(address: str, body: bytes, *more: Header, to: bytes = ECHO) -> Reply:
    with RawConnection.greeted(address) as connection:
        connection.send(b"".join(connection.request(request_headers(to, *more), body)))
        return connection.reply()


def test_grpcio_delivers_a_message_with_an_unknown_flag_empty(address: str) -> None:
    reply = answered(address, b"\2" + message(b"abc")[1:])
    assert (reply.headers[b"grpc-status"], reply.data) == (b"0", message(b""))


def test_grpcio_resets_streams_with_padded_data(address: str) -> None:
    with RawConnection.greeted(address) as connection:
        frame = DataFrame(1, message(b"abc"), pad_length=200)
        frame.flags.add("PADDED")
        head, end = connection.request(request_headers(ECHO))
        connection.send(head + frame.serialize() + end)
        assert connection.reply().reset


def test_grpcio_refuses_bytes_that_are_joined_by_commas(address: str) -> None:
    reply = answered(address, message(b"abc"), (b"a-bin", b"AA,AQ=="))
    assert reply.headers[b"grpc-status"] == b"13"


def test_grpcio_calls_an_unknown_encoding_internal(address: str) -> None:
    reply = answered(address, message(b"abc"), (b"grpc-encoding", b"snappy"))
    assert reply.headers[b"grpc-status"] == b"13"


def test_grpcio_takes_nothing_for_a_compressed_message(address: str) -> None:
    reply = answered(address, b"\1" + message(b"")[1:], (b"grpc-encoding", b"gzip"))
    assert (reply.headers[b"grpc-status"], reply.data) == (b"0", message(b""))
