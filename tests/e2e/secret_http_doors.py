"""HTTP in a system with marked secrets: where it is expected, and where it is not."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping

from tests.e2e.secret_doors import ECHO, TIMEOUT_S, System

_SEEN_BY_ALL = ("", "readyz", "healthz", "none", "openapi.json")


def browse(system: System) -> None:
    """Asks the operators' port, and speaks HTTP/1.1 to the port of gRPC."""
    new = system.canaries.new
    for path in (*_SEEN_BY_ALL, f"none/{new('a token')}"):
        system.answers.append(fetched(system, f"http://{system.admin}/{path}"))
    head = f"GET /?token={new('a token')} HTTP/1.1\r\nauthorization: {new('a token')}\r\n\r\n"
    host, _, port = system.address.rpartition(":")
    context = _unverified()
    context.set_alpn_protocols(["h2"])
    for is_secure in (False, True):
        with contextlib.suppress(OSError):
            plain = socket.create_connection((host, int(port)), TIMEOUT_S)
            with context.wrap_socket(plain) if is_secure else plain as line:
                line.sendall(head.encode())
                while line.recv(4096):
                    pass


def call_by_http(system: System, web: str) -> None:
    """Calls as browsers make them: good ones, failing ones, and requests that are refused."""
    new = system.canaries.new

    def post(request: object, *, token: str = system.token, kind: str = "json") -> str:
        body = request if isinstance(request, str) else json.dumps(request)
        headers = {"authorization": f"Bearer {token}", "content-type": f"application/{kind}"}
        return fetched(system, f"https://{web}{ECHO}/Quick", headers, body.encode())

    def request(**fields: str) -> dict[str, str]:
        return {"text": new("response"), "ballast": new("request"), **fields}

    good = request()
    assert good["text"] in post(good)
    refused = [post(request(act="raise")), post(f'{{"text": "{new("request")}')]
    refused += [post(request(), kind=kind) for kind in ("grpc-web+proto", "connect+json", "x")]
    forged = f"{system.token[:-12]}{new('a token')}"
    refused += [post(request(), token=token) for token in (new("a token"), forged)]
    refused += [fetched(system, f"https://{web}/{path}") for path in (*_SEEN_BY_ALL, ECHO[1:])]
    system.statuses += refused


def fetched(
    system: System, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> str:
    """What HTTP answers to a request with secrets in its query and its headers."""
    new = system.canaries.new
    request = urllib.request.Request(f"{url}?token={new('a token')}", body)  # noqa: S310 - loopback
    request.add_header("authorization", f"Bearer {new('a token')}")
    request.add_header("cookie", new("other metadata"))
    request.add_header("x-secret", new("other metadata"))
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    context = _unverified() if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310 - as above
            return f"{answer.headers}{answer.read().decode(errors='replace')}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.headers}{error.read().decode(errors='replace')}"


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
