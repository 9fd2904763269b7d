"""Requests that pages of others, and callers with bad intentions, send: each gets no further."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import pytest

from forebay_gateway.web.security import Policy
from tests.contract.fronts.site import MIB, SERVICE, Site
from tests.contract.web.raw import connected, head, post, request, rest
from tests.contract.web.site import admin_site, web_site

MakeSite = Callable[..., AbstractContextManager[Site]]
on_both_ports = pytest.mark.parametrize(
    "make_site",
    [pytest.param(web_site, id="web_listen"), pytest.param(admin_site, id="admin_listen")],
)

# Hosts: DNS rebinding


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "app.localhost", "127.0.0.1:1", "[::1]", "calls.example:443"],
)
def test_a_host_that_is_this_server_is_served(web: Site, host: str) -> None:
    assert post(web, "Echo", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "calls.example.evil.example", "xlocalhost", "127.0.0.1.evil.example", "", "["],
)
def test_another_host_is_not(web: Site, host: str) -> None:
    refused = post(web, "Hang", host=host)
    assert refused.status == 403
    assert "not in web_hosts" in refused.body.decode()
    assert web.events.empty()


# Origins: CSRF and CORS


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://app.example"},
        {"origin": "https://app.example.evil.example"},
        {"sec_fetch_site": "cross-site"},
    ],
    ids=str,
)
def test_another_origin_gets_no_further(web: Site, headers: dict[str, str]) -> None:
    assert post(web, "Hang", **headers).status == 403
    refused = request(web, "GET", f"/{SERVICE}/Hang?encoding=json&message=%7B%7D", **headers)
    assert refused.status == 403
    preflight = {"access_control_request_method": "POST"}
    assert request(web, "OPTIONS", f"/{SERVICE}/Hang", **headers, **preflight).status == 403
    assert web.events.empty()


def test_the_origin_of_this_server_is_served(web: Site) -> None:
    served = post(web, "Echo", origin="http://localhost:99", host="localhost:99")
    assert served.status == 200
    assert "access-control-allow-origin" not in served.headers


def test_a_listed_origin_is_told_that_it_may(web: Site) -> None:
    origin = "https://app.example"
    asked = request(
        web,
        "OPTIONS",
        f"/{SERVICE}/Echo",
        origin=origin,
        access_control_request_method="POST",
        access_control_request_headers="authorization,connect-timeout-ms,content-type",
    )
    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == origin
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in asked.headers
    served = post(web, "Echo", origin=origin, sec_fetch_site="cross-site")
    assert served.status == 200
    assert served.headers["access-control-allow-origin"] == origin
    assert "grpc-status" in served.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_what_a_form_can_send_is_refused(web: Site, content_type: str) -> None:
    refused = post(web, "Hang", content_type=content_type)
    assert refused.status == 415
    assert "application/json" in refused.headers["accept-post"]
    assert web.events.empty()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_a_method_with_side_effects_is_called_by_post_alone(web: Site, method: str) -> None:
    refused = request(web, method, f"/{SERVICE}/Silent?encoding=json&message=%7B%7D")
    assert refused.status == 405
    assert refused.headers["allow"] == "POST"


def test_no_other_path_is_there(web: Site) -> None:
    for target in ("/", "/test.Service", "/test.Service/", "/test.Service/Echo/", "/%2e%2e/x"):
        assert request(web, "GET", target).status == 404


def test_metadata_of_a_handler_decides_nothing_of_http(web: Site) -> None:
    """It sends `initial` alone; see the unit tests for the names that are left out."""
    answer = post(web, "Headers")
    assert answer.headers["initial"] == "1"
    assert answer.headers["content-type"] == "application/json"


# Bodies


def test_a_body_over_the_limit_is_refused_before_it_is_read(web: Site) -> None:
    with connected(web) as sock:
        sock.sendall(head("Echo", length=100 * MIB))
        assert b"429 Too Many Requests" in sock.recv(4096)


def test_a_body_of_unknown_length_ends_at_the_limit(web: Site) -> None:
    with connected(web) as sock:
        sock.sendall(head("Echo", "transfer-encoding: chunked"))
        chunk = b"%x\r\n%b\r\n" % (MIB, bytes(MIB))
        answer = b""
        for _ in range(20):
            try:
                sock.sendall(chunk)
                sock.settimeout(0.01)
                answer += sock.recv(4096)
            except TimeoutError:
                pass
            except ConnectionError:
                break
            finally:
                sock.settimeout(20)
            if answer:
                break
    assert b"429 Too Many Requests" in answer


def test_a_body_that_unpacks_to_more_than_the_limit_is_refused(web: Site) -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    refused = post(web, "Echo", bomb, content_encoding="gzip")
    assert refused.json["code"] == "resource_exhausted"


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", {}, "invalid_argument"),
        (b"[]", {}, "invalid_argument"),
        (b"\xff\xfe", {}, "invalid_argument"),
        (b'{"data": 5}', {}, "invalid_argument"),
        (b"[" * 100_000, {}, "invalid_argument"),
        (b'{"again":[' * 5_000, {}, "invalid_argument"),
        (b'{"again":[' * 150 + b"]}" * 150, {}, "invalid_argument"),
        (b'{"data": %s}' % (b"9" * 10_000), {}, "invalid_argument"),
        (b"no gzip", {"content_encoding": "gzip"}, "invalid_argument"),
        (gzip.compress(b"{}", mtime=0)[:-4], {"content_encoding": "gzip"}, "invalid_argument"),
        (b"{}", {"content_encoding": "br"}, "unimplemented"),
        (b"{}", {"connect_protocol_version": "2"}, "invalid_argument"),
        (b"{}", {"connect_timeout_ms": "-1"}, "invalid_argument"),
        (b"{}", {"connect_timeout_ms": "99999999999"}, "invalid_argument"),
        (b"{}", {"x-bin": "!"}, "invalid_argument"),
        (b"{}", {"x": "y" * 20_000}, "resource_exhausted"),
        (b"\x08", {"content_type": "application/connect+proto"}, None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_request_is_refused_clearly(
    web: Site, body: bytes, headers: dict[str, str], code: str | None
) -> None:
    refused = post(web, "Echo", body, **headers)
    if code is None:
        assert refused.status == 415  # a stream's content type for a unary method
        return
    assert refused.json["code"] == code
    assert refused.json["message"]
    assert "Traceback" not in refused.body.decode()
    assert post(web, "Echo").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"\0",
        b"\0\0\0\0\x09x",
        b"\x02\0\0\0\0",
        b"\x01\0\0\0\0",
        b"\0\0\0\0\0" * 2,
        b"\0\xff\xff\xff\xff",
    ],
    ids=repr,
)
def test_what_is_no_envelope_is_refused_clearly(web: Site, body: bytes) -> None:
    refused = post(web, "Count", body, content_type="application/connect+proto")
    assert refused.status == 200
    assert b'"invalid_argument"' in refused.body
    refused = post(web, "Count", body, content_type="application/grpc-web")
    assert b"grpc-status: 3\r\n" in refused.body


# Heads, and callers who take their time


@on_both_ports
def test_a_head_over_the_limit_is_refused(make_site: MakeSite) -> None:
    with make_site() as web:
        assert post(web, "Echo", cookie="x" * 70_000).status == 431
        assert post(web, "Echo", **{f"x{n}": "y" * 100 for n in range(90)}).status == 200


@on_both_ports
def test_a_head_without_end_is_refused(make_site: MakeSite) -> None:
    with make_site() as web, connected(web) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\nx: ")
        try:
            for _ in range(100):
                sock.sendall(b"y" * 10_000)
                time.sleep(0.001)
        except ConnectionError:
            return
        assert b"431" in rest(sock)


@on_both_ports
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST / HT",
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\n",
        head("Echo", length=10) + b"{",
        head("Echo", length=2) + b"{}" + b"POST / HT",
    ],
    ids=[
        *("nothing", "half a line", "half a head", "empty lines"),
        *("half a body", "half a second head"),
    ],
)
def test_a_caller_who_sends_too_slowly_is_disconnected(make_site: MakeSite, sent: bytes) -> None:
    with make_site(head_s=0.5, request_s=0.5) as web, connected(web) as sock:
        sock.sendall(sent)
        rest(sock)


@on_both_ports
def test_the_rest_of_a_refused_body_is_not_awaited_for_good(make_site: MakeSite) -> None:
    with make_site(head_s=0.5, request_s=0.5) as web, connected(web) as sock:
        sock.sendall(head("Echo", length=100 * MIB))
        assert b"429" in rest(sock)


@on_both_ports
def test_a_caller_who_reads_nothing_is_disconnected(make_site: MakeSite) -> None:
    with make_site(stall_s=0.5) as web, connected(web) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = b"\0\0\0\0\0"
        sock.sendall(head("Flood", length=len(body)).replace(b"json", b"connect+json") + body)
        assert web.event() == "cancelled"
        assert web.written < 400, "of 64 KiB: what sockets hold"


@on_both_ports
def test_connections_over_the_limit_are_closed(make_site: MakeSite) -> None:
    with (
        make_site(max_connections=2) as web,
        connected(web) as first,
        connected(web) as second,
        connected(web) as third,
    ):
        for sock in (first, second, third):
            with suppress(ConnectionError):
                sock.sendall(b"GET / HTTP/1.1\r\n")
        assert rest(third) == b""


def test_two_lengths_are_refused(web: Site) -> None:
    """Request smuggling: a proxy in front could believe the other one."""
    with connected(web) as sock:
        lines = "transfer-encoding: chunked", "content-length: 5"
        sock.sendall(head("Echo", *lines) + b"0\r\n\r\n")
        assert b"400 Bad Request" in rest(sock)


# Deadlines and disconnects


def test_the_server_ends_a_call_at_its_deadline(web: Site) -> None:
    late = post(web, "Hang", connect_timeout_ms="200")
    assert (late.status, late.json["code"]) == (504, "deadline_exceeded")
    assert [web.event(), web.event()] == ["began", "cancelled"]
    late = post(
        web, "Hang", b"\0\0\0\0\0", content_type="application/grpc-web", grpc_timeout="200m"
    )
    assert b"grpc-status: 4\r\n" in late.body
    assert [web.event(), web.event()] == ["began", "cancelled"]


@on_both_ports
@pytest.mark.parametrize("by", ["close", "reset"])
def test_a_closed_tab_is_a_caller_who_left(make_site: MakeSite, by: str) -> None:
    with make_site() as web:
        with connected(web) as sock:
            sock.sendall(head("Hang", length=2) + b"{}")
            assert web.event() == "began"
            if by == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert web.event() == "cancelled"


def test_a_caller_of_a_get_who_left_is_noticed(web: Site) -> None:
    with connected(web) as sock:
        target = f"/{SERVICE}/Hang?encoding=json&message=%7B%7D"
        sock.sendall(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert web.event() == "began"
    assert web.event() == "cancelled"


def test_any_host_and_origin_where_that_is_set() -> None:
    with web_site(policy=Policy(frozenset({"*"}), ("*",))) as web:
        assert post(web, "Echo", host="x.example", origin="https://y.example").status == 200
