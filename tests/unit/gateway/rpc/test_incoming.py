"""Which calls get a cache key, and what happens to their requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import InvalidRequest
from forebay.metadata import from_pairs
from forebay.routes import Method
from forebay.routes.cache import Cache
from forebay_gateway.rpc.incoming import IncomingCall, RequestLimits, with_cache_key
from forebay_gateway.rpc.options import CallOptions
from tests.unit.samples import method

OPTIONS = CallOptions(None, 0, False, 0, from_pairs([]))
LIMITS = RequestLimits(1 << 20, 30.0, lambda method: 100)
MATMUL = method("MatMul", cache=Cache(60.0, only_with_fields=("random.seed",)))
SEEDED = pb.MatMulRequest(random=pb.RandomOperands(m=2, n=2, seed=1)).SerializeToString()
UNSEEDED = pb.MatMulRequest(random=pb.RandomOperands(m=2, n=2)).SerializeToString()


async def _stream(*requests: bytes | Exception) -> AsyncIterator[bytes]:
    for request in requests:
        if isinstance(request, Exception):
            raise request
        yield request


async def _keyed(
    called: Method, first: bytes | None, *rest: bytes | Exception, **options: Any
) -> tuple[bool, list[bytes]]:
    """Whether the call has a cache key, and the further requests that are left."""
    unused: Any = None
    incoming = IncomingCall(
        *(called, replace(OPTIONS, **options), unused, first, _stream(*rest), unused, unused)
    )
    found = await with_cache_key(incoming, "acme", LIMITS)
    assert found.first == first
    return found.cache_key is not None, [request async for request in found.rest]


async def test_a_unary_call_has_a_key_if_its_route_has_a_cache() -> None:
    assert await _keyed(method("Factorial", cache=Cache(60.0)), b"") == (True, [])
    assert await _keyed(method("Factorial"), b"") == (False, [])


async def test_a_call_with_an_id_of_its_own_has_none() -> None:
    factorial = method("Factorial", cache=Cache(60.0))
    assert await _keyed(factorial, b"", call_id="own") == (False, [])
    assert await _keyed(factorial, b"", call_id="own", share=True) == (True, [])


async def test_a_request_stream_has_a_key_if_it_has_one_request() -> None:
    assert await _keyed(MATMUL, SEEDED) == (True, [])
    assert await _keyed(MATMUL, SEEDED, b"a", b"b") == (False, [b"a", b"b"])
    assert await _keyed(MATMUL, None) == (False, [])
    too_large = SEEDED + b"\xa2\x06\x64" + bytes(100)  # with an unknown field of 100 bytes
    assert await _keyed(MATMUL, too_large) == (False, [])


async def test_other_requests_of_a_stream_are_not_waited_for() -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the call can share no run")
        yield b""

    unused: Any = None
    incoming = IncomingCall(MATMUL, OPTIONS, unused, UNSEEDED, never(), unused, unused)
    assert (await with_cache_key(incoming, "acme", LIMITS)).cache_key is None


async def test_an_invalid_second_request_ends_the_call() -> None:
    with pytest.raises(InvalidRequest):
        await _keyed(MATMUL, SEEDED, InvalidRequest("two requests"))
