"""What no client of ours sends: base64 of gRPC-Web, client certificates, calls while it stops."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import threading
from base64 import b64decode, b64encode
from contextlib import closing
from pathlib import Path

import pytest

from forebay_backends.settings.identity_settings import TlsSettings
from forebay_gateway.tls.server_tls import ServerTls
from tests.certificates import Authority, TlsFiles
from tests.contract.fronts.site import SERVICE, Site
from tests.contract.web.raw import connected, head, post, rest
from tests.contract.web.site import Message, web_site
from tests.harness import eventually

TEXT = "application/grpc-web-text"


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The flags and data of each frame."""
    found = []
    while data:
        size = int.from_bytes(data[1:5], "big")
        found.append((data[0], data[5 : 5 + size]))
        data = data[5 + size :]
    return found


def framed(data: bytes) -> bytes:
    message = Message(data=data).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize("content_type", [TEXT, f"{TEXT}+proto"])
def test_grpc_web_in_base64(web: Site, content_type: str) -> None:
    answer = post(web, "Count", b64encode(framed(b"2 3")), content_type=content_type)
    assert answer.headers["content-type"] == content_type
    parts = [part + b"=" * (-len(part) % 4) for part in answer.body.split(b"=") if part]
    *messages, (flags, trailers) = frames(b"".join(map(b64decode, parts)))
    assert [Message.FromString(data).data for _, data in messages] == [b"\0" * 3, b"\1" * 3]
    assert (flags, trailers) == (0x80, b"grpc-status: 0\r\n")


def test_a_request_in_base64_may_come_in_parts(web: Site) -> None:
    whole = framed(b"hello")
    body = b64encode(whole[:5]) + b64encode(whole[5:])
    assert b64encode(framed(b"hello"))[:8] in post(web, "Echo", body, content_type=TEXT).body
    refused = post(web, "Echo", b"!!!", content_type=TEXT)
    assert b"grpc-status: 3" in b64decode(refused.body)


def test_a_response_of_connect_is_compressed_for_those_who_accept_it(web: Site) -> None:
    data = b64encode(bytes(4000)).decode()
    request = json.dumps({"data": data}).encode()
    plain = post(web, "Echo", request)
    assert "content-encoding" not in plain.headers
    answer = post(web, "Echo", request, accept_encoding="br, gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < 200
    assert gzip.decompress(answer.body) == plain.body
    small = post(web, "Echo", b"{}", accept_encoding="gzip")
    assert "content-encoding" not in small.headers


@pytest.mark.parametrize(
    ("content_type", "accept", "encoding"),
    [
        ("application/connect+proto", "connect_accept_encoding", "connect-content-encoding"),
        ("application/grpc-web+proto", "grpc_accept_encoding", "grpc-encoding"),
    ],
)
def test_messages_of_a_stream_are_compressed_for_those_who_accept_it(
    web: Site, content_type: str, accept: str, encoding: str
) -> None:
    plain = post(web, "Count", framed(b"2 4000"), content_type=content_type)
    answer = post(web, "Count", framed(b"2 4000"), content_type=content_type, **{accept: "gzip"})
    assert answer.headers[encoding] == "gzip"
    assert len(answer.body) < 400 < len(plain.body)
    *messages, _ = frames(answer.body)
    assert [flags for flags, _ in messages] == [1, 1]
    *uncompressed, _ = frames(plain.body)
    assert [(0, gzip.decompress(data)) for _, data in messages] == uncompressed


def test_trailing_metadata_and_text_are_as_grpc_has_them(web: Site) -> None:
    body = framed("NOT_FOUND\nkein Eintrag: ü 100%".encode())
    answer = post(web, "Abort", body, content_type="application/grpc-web+proto")
    ((flags, trailers),) = frames(answer.body)
    assert flags == 0x80
    assert trailers.splitlines() == [
        b"grpc-status: 5",
        b"grpc-message: kein Eintrag: %C3%BC 100%25",
        b"reason: so",
        b"why-bin: /w",
    ]


def test_handlers_see_the_certificate_of_a_caller(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = TlsFiles(tmp_path, authority.issue("gateway", "127.0.0.1"), authority.ca)
    client = authority.issue("client", "spiffe://prod.example/ns/acme/sa/adder")
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])  # as browsers ask
    with web_site(tls=ServerTls(TlsSettings(**files.settings()))) as web:

        def ask() -> bytes:
            made = http.client.HTTPSConnection(web.address, timeout=20, context=context)
            with closing(made):
                kind = {"content-type": "application/json"}
                made.request("POST", f"/{SERVICE}/Headers", b"{}", kind)
                return made.getresponse().read()

        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask()
        context.load_cert_chain(client.certificate, client.key)
        seen = json.loads(b64decode(json.loads(ask())["data"]))
    assert seen["auth"]["peer_spiffe_id"] == ["spiffe://prod.example/ns/acme/sa/adder"]
    assert seen["peer"].startswith("ipv4:127.0.0.1:")


def test_a_stop_lets_calls_end_and_closes_idle_connections() -> None:
    with web_site() as web, connected(web) as idle, connected(web) as busy:
        assert post(web, "Echo").status == 200
        body = b"\0\0\0\0\0"
        stream = head("HangAfter", length=len(body)).replace(b"json", b"connect+json")
        busy.sendall(stream + body)
        received = b""
        while b64encode(b"first") not in received:
            received += busy.recv(65_536)
        stopping = threading.Thread(target=lambda: web.run(lambda: web.stop(0.0)))
        stopping.start()
        assert rest(idle) == b""
        eventually(lambda: _is_refused(web), "the port is closed")
        assert web.event() == "cancelled"  # after the grace of a second
        stopping.join()


def _is_refused(web: Site) -> bool:
    try:
        with connected(web):
            return False
    except ConnectionRefusedError:
        return True
