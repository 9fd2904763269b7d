"""The faults of docs/upstream.md: where one of these tests fails, it was fixed and can go."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from asyncio.sslproto import SSLProtocol
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import ngh2
import pytest
from cryptography.x509 import UniformResourceIdentifier
from hyperframe.frame import DataFrame

from tests.certificates import Authority
from tests.contract.fronts.site import path, serving
from tests.faults.raw_http2 import Header, RawConnection, Reply, message, request_headers
from tests.harness import environment, free_port, process

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


INTERRUPTED = """
import sys

import grpc
from grpc import _channel

def interrupted(state):
    raise KeyboardInterrupt

_channel._run_channel_spin_thread = interrupted
channel = grpc.insecure_channel(sys.argv[1])
try:
    channel.unary_unary("/x/y").future(b"")
except KeyboardInterrupt:
    print("closes", flush=True)
    channel.close()
    print("has closed", flush=True)
"""


def test_grpcio_never_closes_a_channel_whose_call_was_interrupted_at_its_start(
    address: str,
) -> None:
    with process(sys.executable, "-c", INTERRUPTED, address, env=environment()) as program:
        program.wait_for("closes")
        with pytest.raises(subprocess.TimeoutExpired):
            program.popen.wait(2.0)
        program.popen.kill()
    assert "has closed" not in program.output


def test_grpcio_cuts_a_property_off_at_a_zero_byte(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server_files = authority.issue("server", "127.0.0.1")
    client_files = authority.issue("client", UniformResourceIdentifier("spiffe://d/a\0.evil"))
    ca, key, chain = (
        file.read_bytes() for file in (authority.ca, client_files.key, client_files.certificate)
    )

    def answer(_: bytes, context: Any) -> bytes:
        (found,) = context.auth_context()["peer_spiffe_id"]
        return bytes(found)

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        handlers = {"Answer": grpc.unary_unary_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", handlers),))
        pair = (server_files.key.read_bytes(), server_files.certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        secure = grpc.ssl_channel_credentials(ca, key, chain)
        with grpc.secure_channel(f"127.0.0.1:{port}", secure) as channel:
            assert channel.unary_unary("/s/Answer")(b"", timeout=20) == b"spiffe://d/a"
        server.stop(None).wait()


async def test_grpcio_cancels_a_call_whose_connection_breaks_while_its_requests_end() -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        call = channel.stream_unary(path("Collect"))([])
        with pytest.raises(asyncio.CancelledError):
            await call


# asyncio


async def test_asyncio_sends_no_alert_when_a_handshake_fails(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    address = server.sockets[0].getsockname()

    def end() -> type[Exception] | None:
        """How the connection of a client without a certificate ends."""
        trusting = ssl.create_default_context(cafile=str(authority.ca))
        with (
            socket.create_connection(address, timeout=20) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            try:
                return None if secure.recv(1) == b"" else AssertionError
            except OSError as error:
                return type(error)

    async with server:
        assert await asyncio.to_thread(end) in (None, ConnectionResetError, ssl.SSLEOFError)
    await asyncio.sleep(0.1)  # asyncio closes its end of the connection meanwhile


async def test_asyncio_holds_a_whole_buffer_for_each_connection_with_tls() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    loop = asyncio.get_running_loop()
    one: Any = SSLProtocol(loop, asyncio.Protocol(), context, loop.create_future(), True)
    one._app_transport._closed = True  # it has no connection that could be closed
    assert len(one._ssl_buffer) == one.max_size
