"""Fetching a JWKS from a real server: what it sends is limited in size and time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from forebay.errors import BackendUnavailable
from forebay_gateway.identity.jwt import jwks_client as module
from forebay_gateway.identity.jwt.jwks_client import JwksClient
from tests.certificates import Authority
from tests.identity_provider import JwksServer, jwks_server, with_document


@pytest.fixture(scope="module")
def shared() -> Iterator[JwksServer]:
    with jwks_server() as server:
        yield server


@pytest.fixture
def server(shared: JwksServer) -> JwksServer:
    shared.requests = 0
    return shared


async def failure(url: str) -> str:
    with pytest.raises(BackendUnavailable) as caught:
        await JwksClient(url).fetch()
    return caught.value.message


async def test_the_document_is_fetched(server: JwksServer) -> None:
    client = JwksClient(server.url)
    for document in (b'{"keys": []}', b"", b"x" * (256 << 10)):
        server.answer = with_document(document)
        assert await client.fetch() == document
    assert server.requests == 3


async def test_a_proxy_of_the_environment_gets_no_request(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.answer = with_document(b"{}")
    assert await JwksClient(server.url).fetch() == b"{}"


@pytest.mark.parametrize("status", [204, 301, 302, 303, 307, 308, 304, 401, 404, 500, 503])
async def test_any_status_but_200_is_a_failure_and_redirects_are_not_followed(
    server: JwksServer, status: int
) -> None:
    server.answer = with_document(b"", status, {"location": f"{server.url}/elsewhere"})
    problem = await failure(f"{server.url}?key=secret")
    assert problem == f"{server.url} answered with the status {status}"
    assert server.requests == 1


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(server: JwksServer) -> None:
    sent = threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 65536)
        except OSError:
            sent.set()

    server.answer = endless
    assert "more than 262144 bytes" in await failure(server.url)
    assert sent.wait(30)


async def test_a_server_that_sends_a_byte_now_and_then_is_given_up(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.3)
    given_up = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not given_up.wait(0.02):
                request.wfile.write(b" ")
                request.wfile.flush()
        except OSError:
            given_up.set()

    server.answer = drip
    assert "did not answer within 0.3 s" in await failure(server.url)
    assert given_up.wait(30)


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert f"http://127.0.0.1:{port}/" in await failure(f"http://127.0.0.1:{port}/")


async def test_what_is_no_http_is_a_failure() -> None:
    def talk() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=talk)
        thread.start()
        assert await failure(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join()


async def test_a_certificate_must_be_one_that_the_system_trusts_and_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    with jwks_server(tls=authority.issue("good", "127.0.0.1")) as good:
        assert "certificate verify failed" in await failure(good.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
        assert await JwksClient(good.url).fetch() == b'{"keys": []}'
    with jwks_server(tls=authority.issue("other", "login.example")) as other:
        assert "certificate verify failed" in await failure(other.url)
