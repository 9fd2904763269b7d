"""Which call in the ledger a caller may attach to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from forebay.compute.v1 import compute_pb2 as pb
from forebay.metadata import from_pairs
from forebay.routes.cache import Cache
from forebay_gateway.durable.same_call import is_same_call, is_shared_run
from forebay_gateway.rpc.cache_key import cache_key
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.options import CallOptions
from tests.unit.samples import method, snapshot

FACTORIAL = method("Factorial", cache=Cache(60.0, ignore_fields=("encoding",)))
OPTIONS = CallOptions("id", 0, False, 0, from_pairs([]))
N_20 = pb.FactorialRequest(n=20).SerializeToString()
BINARY = pb.FactorialRequest(n=20, encoding=pb.INTEGER_ENCODING_BINARY).SerializeToString()
N_21 = pb.FactorialRequest(n=21).SerializeToString()
KEY = cache_key(FACTORIAL, OPTIONS, N_20, "acme")
assert KEY is not None


def _incoming(first: bytes | None) -> IncomingCall:
    unused: Any = None
    return IncomingCall(FACTORIAL, OPTIONS, unused, first, unused, unused, unused)


def _both(first: bytes | None, tenant: str = "acme", **changes: Any) -> tuple[bool, bool]:
    """Whether it is the same call, and whether it is a run to share."""
    incoming = _incoming(first)
    standing = {"method": FACTORIAL.name, "digest": _incoming(N_20).digest, "cache": KEY.digest}
    found = snapshot(**{**standing, **changes})
    return is_same_call(incoming, found, tenant), is_shared_run(incoming, found, tenant)


def test_a_call_is_the_same_by_method_and_request() -> None:
    assert _both(N_20, cache="") == (True, False)
    assert _both(N_21, cache="") == (False, False)
    assert _both(N_20, method="other.Service.Method") == (False, False)
    assert _both(None, cache="") == (True, False)


def test_a_shared_run_is_the_same_by_its_cache_key() -> None:
    assert _both(N_20) == (True, True)
    assert _both(BINARY) == (True, True)
    assert _both(BINARY, cache="") == (False, False)
    assert _both(N_21) == (False, False)
    assert _both(BINARY, tenant="umbrella") == (False, False)
    assert _both(None) == (True, True)
    assert _both(None, method="other.Service.Method") == (False, False)


def test_a_call_without_a_key_shares_nothing() -> None:
    plain = replace(_incoming(BINARY), method=method("Factorial"))
    found = snapshot(method=FACTORIAL.name, digest="d", cache=KEY.digest)
    assert not is_same_call(plain, found, "acme")
