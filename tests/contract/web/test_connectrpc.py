"""RPCs of connectrpc's own client: Connect and gRPC-Web, in JSON and binary."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from connectrpc.client import ConnectClientSync, ResponseMetadata
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType

from tests.contract.fronts.site import MIB, SERVICE, Site
from tests.contract.web.site import Message

CODECS = {"proto": google_protobuf_binary_codec(), "json": google_protobuf_json_codec()}
WAYS = [
    (protocol, codec)
    for protocol in (ProtocolType.CONNECT, ProtocolType.GRPC_WEB)
    for codec in CODECS
]
CODES = [code for code in Code if code.value not in ("canceled",)]
_TIMEOUT_MS = 20_000


def method(name: str, kind: StreamType = StreamType.UNARY) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=name,
        service_name=SERVICE,
        input=Message,
        output=Message,
        idempotency_level=IdempotencyLevel.NO_SIDE_EFFECTS,
        stream_type=kind,
    )


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0].name}-{way[1]}")
def client(web: Site, request: pytest.FixtureRequest) -> Iterator[ConnectClientSync]:
    protocol, codec = request.param
    with ConnectClientSync(
        f"http://{web.address}",
        codec=CODECS[codec],
        protocol=protocol,
        timeout_ms=_TIMEOUT_MS,
    ) as client:
        yield client


def ask(client: ConnectClientSync, name: str, data: bytes = b"", **options: Any) -> bytes:
    answer = client.execute_unary(request=Message(data=data), method=method(name), **options)
    return bytes(answer.data)


def stream(client: ConnectClientSync, name: str, data: bytes, **options: Any) -> Iterator[bytes]:
    kind = method(name, StreamType.SERVER_STREAM)
    for answer in client.execute_server_stream(request=Message(data=data), method=kind, **options):
        yield bytes(answer.data)


def failure(client: ConnectClientSync, name: str, data: bytes = b"", **options: Any) -> Any:
    with pytest.raises(ConnectError) as raised:
        ask(client, name, data, **options)
    return raised.value


@pytest.mark.parametrize("size", [0, 1, 70_000, 400_000])
def test_a_unary_call_of_any_size(client: ConnectClientSync, size: int) -> None:
    data = bytes(number % 251 for number in range(1000)) * (size // 1000) + bytes(size % 1000)
    assert ask(client, "Echo", data) == data


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 5), (200, 10), (3, 200_000)])
def test_a_stream_of_responses(client: ConnectClientSync, count: int, size: int) -> None:
    answers = list(stream(client, "Count", b"%d %d" % (count, size)))
    assert answers == [bytes((number % 256,)) * size for number in range(count)]


def test_metadata_goes_both_ways(client: ConnectClientSync) -> None:
    headers = {"text": "a", "raw-bin": "AP8"}
    with ResponseMetadata() as got:
        seen = json.loads(ask(client, "Headers", headers=headers))
    pairs = [pair for pair in seen["pairs"] if pair[0] in ("text", "raw-bin")]
    assert sorted(pairs) == [["raw-bin", "00ff"], ["text", "a"]]
    assert not [
        key for key, _ in seen["pairs"] if key.startswith(("connect-", "grpc-", "content-"))
    ]
    assert _TIMEOUT_MS / 2000 < seen["left_s"] <= _TIMEOUT_MS / 1000
    assert got.headers["initial"] == "1"
    assert got.headers["initial-bin"] == "AP8s"
    assert got.trailers["trailing"] == "a b"
    assert got.trailers["trailing-bin"] == "AQ"


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.value)
def test_every_status_arrives(client: ConnectClientSync, code: Code) -> None:
    error = failure(client, "Abort", f"{code.value.upper()}\nkein Eintrag: ü 100%".encode())
    assert (error.code, error.message) == (code, "kein Eintrag: ü 100%")


def test_a_deadline_ends_the_handler(web: Site, client: ConnectClientSync) -> None:
    error = failure(client, "Hang", timeout_ms=1000)
    assert error.code is Code.DEADLINE_EXCEEDED
    assert [web.event(), web.event()] == ["began", "cancelled"]


def test_a_caller_who_leaves_a_stream_cancels_it(web: Site, client: ConnectClientSync) -> None:
    answers = stream(client, "HangAfter", b"")
    assert next(answers) == b"first"
    answers.close()
    assert web.event() == "cancelled"


def test_a_handler_that_fails_says_nothing_of_why(client: ConnectClientSync) -> None:
    error = failure(client, "Fail")
    assert (error.code, error.message) == (Code.UNKNOWN, "the handler failed")


def test_a_stream_of_requests_is_refused_clearly(client: ConnectClientSync) -> None:
    kind = method("Sum", StreamType.CLIENT_STREAM)
    with pytest.raises(ConnectError) as raised:
        client.execute_client_stream(request=iter([Message()]), method=kind)
    assert raised.value.code is Code.UNIMPLEMENTED
    assert "/test.Service/Sum takes a stream of requests" in raised.value.message


def test_an_unknown_method_is_unimplemented(client: ConnectClientSync) -> None:
    assert failure(client, "Missing").code is Code.UNIMPLEMENTED


def test_a_request_over_the_limit_is_refused(client: ConnectClientSync) -> None:
    assert failure(client, "Echo", bytes(5 * MIB)).code is Code.RESOURCE_EXHAUSTED


def test_a_response_over_the_limit_is_refused(client: ConnectClientSync) -> None:
    error = failure(client, "Big", b"%d" % (9 * MIB))
    assert error.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("codec", CODECS)
def test_a_method_without_side_effects_is_called_by_get(web: Site, codec: str) -> None:
    with ConnectClientSync(f"http://{web.address}", codec=CODECS[codec]) as client:
        assert ask(client, "Echo", b"\x00\xff?&=", use_get=True) == b"\x00\xff?&="
        assert ask(client, "Echo", bytes(20_000), use_get=True) == bytes(20_000)  # by gzip
        with pytest.raises(ConnectError) as raised:
            ask(client, "Silent", use_get=True)
    assert raised.value.code is Code.UNKNOWN  # HTTP's 405


def test_many_calls_at_a_time(web: Site) -> None:
    """More than one connection's worth, and none gets another's answer."""
    answers: queue.Queue[tuple[bytes, bytes]] = queue.Queue()

    def calls(first: int) -> None:
        with ConnectClientSync(f"http://{web.address}", codec=CODECS["json"]) as client:
            for number in range(first, first + 20):
                data = b"%d" % number
                answers.put((data, ask(client, "Echo", data)))

    threads = [threading.Thread(target=calls, args=(20 * number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.qsize() == 200
    assert all(sent == got for sent, got in answers.queue)


def test_a_slow_reader_holds_the_handler(web: Site) -> None:
    options: Any = {"codec": CODECS["proto"], "accept_compression": ()}
    with ConnectClientSync(f"http://{web.address}", **options) as client:
        answers = stream(client, "Flood", b"")
        next(answers)
        before = -1
        while web.written != before:
            before = web.written
            time.sleep(0.3)
        assert web.written < 400  # of 64 KiB: what sockets hold
        answers.close()
    assert web.event() == "cancelled"
