"""Which calls have one cache key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.compute.v1 import compute_pb2 as pb
from forebay.metadata import from_pairs
from forebay.routes.cache import Cache
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.calls import Start
from forebay_gateway.rpc.cache_key import CacheKey, cache_key, may_share
from forebay_gateway.rpc.options import CallOptions
from tests.plain.v1 import plain_pb2
from tests.unit.samples import method

N_20 = pb.FactorialRequest(n=20).SerializeToString()
HALF = CallOptions(None, 0, False, 0, from_pairs([("x-a", "1"), ("x-b", "2")]))


def _key(
    request: bytes = N_20,
    *,
    tenant: str = "",
    metadata: tuple[tuple[str, str | bytes], ...] = (),
    name: str = "Factorial",
    cache: Cache | None = None,
    **options: Any,
) -> CacheKey:
    called = method(name, cache=cache or Cache(60.0))
    given = replace(HALF, forwarded_metadata=from_pairs(metadata), **options)
    found = cache_key(called, given, request, tenant)
    assert found is not None
    return found


def _same(one: CacheKey, other: CacheKey) -> bool:
    return one.digest == other.digest


def test_a_key_is_that_of_an_equal_call() -> None:
    key = _key(tenant="acme")
    assert key == _key(tenant="acme")
    assert (key.owner, key.ttl_s, key.renews) == ("acme", 60.0, False)
    assert _key(no_cache=True).renews


def test_a_request_counts_by_its_content_not_by_its_bytes() -> None:
    first, last = b"\x08\x14", b"\x10\x02"  # n: 20, encoding: BINARY
    assert _same(_key(first + last), _key(last + first))
    assert _same(_key(b"\x08\x01" + first), _key(first))  # the last value of a field counts
    assert not _same(_key(first), _key(first + last))


def test_a_map_counts_without_the_order_of_its_entries() -> None:
    entries = [(f"key-{number}", number) for number in range(100)]
    called = replace(method("Factorial", cache=Cache(60.0)), request_class=plain_pb2.Kinds)
    keys = [
        cache_key(called, HALF, plain_pb2.Kinds(by_name=order).SerializeToString(), "")
        for order in (dict(entries), dict(reversed(entries)))
    ]
    assert keys[0] is not None
    assert keys[0] == keys[1]


def test_unknown_fields_are_part_of_the_key() -> None:
    unknown = b"\xa2\x06\x01x"  # field 100
    assert not _same(_key(N_20), _key(N_20 + unknown))
    assert _same(_key(N_20 + unknown), _key(unknown + N_20))


@pytest.mark.parametrize(
    "other",
    [
        _key(pb.FactorialRequest(n=21).SerializeToString()),
        _key(tenant="acme"),
        _key(metadata=(("x-a", "1"),)),
        _key(metadata=(("x-b", "1"),)),
        _key(cache=Cache(60.0, for_everyone=True)),
    ],
)
def test_what_a_response_may_depend_on_is_part_of_the_key(other: CacheKey) -> None:
    assert not _same(other, _key())


def test_the_keys_of_forwarded_metadata_count_too() -> None:
    assert not _same(_key(metadata=(("x-a", "1"),)), _key(metadata=(("x-b", "1"),)))


def test_another_method_or_another_version_of_its_messages_has_another_key() -> None:
    factorial = method("Factorial", cache=Cache(60.0))
    keys = [
        cache_key(one, HALF, N_20, "")
        for one in (
            factorial,
            replace(factorial, name="pkg.S.M"),
            replace(factorial, fingerprint="us-0"),
        )
    ]
    assert len({key.digest for key in keys if key is not None}) == 3


def test_forwarded_metadata_counts_without_the_order_of_keys_and_without_the_trace() -> None:
    a, b, more = ("x-a", "1"), ("x-b", "2"), ("x-a", "3")
    assert _same(_key(metadata=(a, b)), _key(metadata=(b, a)))
    assert not _same(_key(metadata=(a, more)), _key(metadata=(more, a)))
    trace = ("traceparent", "00-0-0-01"), ("tracestate", "k=v")
    assert _same(_key(metadata=(a, *trace)), _key(metadata=(a,)))


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    keys = [
        _key(metadata=metadata)
        for metadata in (
            (("x-a", "1"), ("x-b", "2")),
            (("x-a", "1x-b2"),),
            (("x-a1", ""), ("x-b", "2")),
        )
    ]
    assert len({key.digest for key in keys}) == 3


def test_calls_of_all_tenants_share_runs_that_belong_to_none() -> None:
    everyone = Cache(60.0, for_everyone=True)
    acme, umbrella = (_key(tenant=tenant, cache=everyone) for tenant in ("acme", "umbrella"))
    assert acme == umbrella
    assert acme.owner == ""


def test_ignored_fields_do_not_count() -> None:
    ignoring = Cache(60.0, ignore_fields=("encoding",))
    binary = pb.FactorialRequest(n=20, encoding=pb.INTEGER_ENCODING_BINARY).SerializeToString()
    assert _same(_key(cache=ignoring), _key(binary, cache=ignoring))


def test_a_request_without_a_needed_field_has_no_key() -> None:
    matmul = method("MatMul", cache=Cache(60.0, only_with_fields=("random.seed",)))
    seeds = [None, 0, 1]
    requests = [pb.MatMulRequest(random=pb.RandomOperands(m=2, seed=seed)) for seed in seeds]
    keys = [cache_key(matmul, HALF, one.SerializeToString(), "") for one in requests]
    assert [key is None for key in keys] == [True, False, False]
    assert cache_key(method("Factorial"), HALF, N_20, "") is None  # its route has no cache


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, True),
        ({"start": Start(60.0, is_relative=True)}, False),
        ({"call_id": "own", "share": True, "start": Start(60.0, is_relative=True)}, False),
        ({"call_id": "own"}, False),
        ({"call_id": "own", "share": True}, True),
        ({"call_id": "own", "share": True, "resume_from": 1}, False),
    ],
)
def test_a_call_that_starts_now_shares_a_run_unless_it_has_an_id_of_its_own(
    options: dict[str, Any], shares: bool
) -> None:
    assert may_share(replace(HALF, **options)) is shares


def test_ids_of_one_partition_end_in_any_way() -> None:
    key = CacheKey("ab" * 32, "", 60.0)
    assert not key.renews
    assert len({key.new_call().id[-2:] for _ in range(300)}) > 8  # of 16


@given(digest=st.binary(min_size=32, max_size=32), owner=st.sampled_from(["", "acme"]))
def test_new_calls_are_in_the_partition_of_their_key(digest: bytes, owner: str) -> None:
    key = CacheKey(digest.hex(), owner, 60.0)
    calls = [key.new_call() for _ in range(4)]
    assert len({call.id for call in calls}) == 4
    for call in calls:
        assert CallKey.parse(str(call)) == call
        assert (call.owner, len(call.id)) == (owner, 36)
        assert call.partition == f"forebay:{{{key.partition}}}"
