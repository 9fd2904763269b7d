"""The cache of a route: reading it, its problems, and the setting that replaces it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.duration_pb2 import Duration

from forebay.compute.v1 import compute_pb2 as pb
from forebay.routes import RouteError, read_methods
from forebay.routes.cache import Cache, cache_problems, read_cache
from forebay.routes.field_paths import clear_field, is_set, path_problem
from forebay.v1 import calls_pb2, route_pb2
from tests.unit.samples import COMPUTE

_LEVELS = descriptor_pb2.MethodOptions
MATMUL = COMPUTE.methods_by_name["MatMul"]
FACTORIAL = "forebay.compute.v1.ComputeService.Factorial"
HOUR = Duration(seconds=3600)


def _option(route: Mapping[str, Any] | None = None, **cache: Any) -> route_pb2.Route:
    given = {"task": "t", "queue": "q", **(route or {})}
    return route_pb2.Route(**given, cache=route_pb2.Cache(**{"ttl": HOUR, **cache}))


def _problems(
    option: route_pb2.Route, level: int = _LEVELS.NO_SIDE_EFFECTS, retention_s: float = 3600.0
) -> list[str]:
    return list(cache_problems(MATMUL, option, level, retention_s))


def test_a_cache_of_a_ttl_alone_is_a_tenants_and_takes_every_request() -> None:
    assert read_cache(_option()) == Cache(3600.0)
    assert read_cache(route_pb2.Route(task="t")) is None
    assert _problems(_option()) == _problems(route_pb2.Route(task="t")) == []


def test_every_field_of_a_cache_is_read() -> None:
    option = _option(
        scope=route_pb2.CACHE_SCOPE_EVERYONE,
        ignore_fields=["random.format"],
        only_with_fields=["random.seed", "random"],
    )
    expected = Cache(3600.0, True, ("random.format",), ("random.seed", "random"))
    assert read_cache(option) == expected
    assert _problems(option) == []


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (_option({"live": True}), "`cache` is not for `live` methods"),
        (_option({"ephemeral": True}), "`cache` keeps records in the ledger, and `ephemeral`"),
        (_option({"plain": route_pb2.PlainTask()}), "`cache` is not for `plain` tasks"),
        (_option(ttl=Duration()), "`cache.ttl` is 0 s; set more than 0 s"),
        (_option(ttl=Duration(seconds=-1)), "`cache.ttl` is -1 s; set more than 0 s"),
        (_option(ttl=None), "`cache` has no `ttl`"),
        (_option(ttl=Duration(seconds=3601)), "`cache.ttl` is 3601 s, but the ledger keeps calls"),
        (_option(scope=3), "`cache.scope` is 3, which is not a CacheScope; set CACHE_SCOPE_TENANT"),
        (
            _option(ignore_fields=["randm"]),
            "`cache.ignore_fields` names 'randm': forebay.compute.v1.MatMulRequest has no field "
            "'randm'; did you mean `random`?",
        ),
        (_option(only_with_fields=["random.sed"]), "`cache.only_with_fields` names 'random.sed'"),
        (
            _option(ignore_fields=["random"], only_with_fields=["random.seed"]),
            "`cache` has 'random.seed' in `only_with_fields` and in `ignore_fields`; remove one",
        ),
    ],
)
def test_each_problem_of_a_cache_is_one_line(option: route_pb2.Route, problem: str) -> None:
    (found,) = _problems(option)
    assert found.startswith(problem)


@pytest.mark.parametrize("level", [_LEVELS.IDEMPOTENCY_UNKNOWN, _LEVELS.IDEMPOTENT])
def test_a_method_with_side_effects_has_no_cache(level: int) -> None:
    (found,) = _problems(_option(), level)
    assert found.startswith("`cache` needs an `idempotency_level` of NO_SIDE_EFFECTS")


def test_a_setting_replaces_the_cache_of_a_route() -> None:
    table = {"ttl": "60s", "scope": "CACHE_SCOPE_EVERYONE", "ignore_fields": ["encoding"]}
    found = {one.name: one for one in read_methods([COMPUTE], caches={FACTORIAL: table})}
    assert found[FACTORIAL].route.cache == Cache(60.0, True, ("encoding",))
    off = {one.name: one for one in read_methods([COMPUTE], caches={FACTORIAL: {"ttl": "0s"}})}
    assert off[FACTORIAL].route.cache is None


def test_problems_of_the_setting_are_reported_with_those_of_routes() -> None:
    caches = {
        FACTORIAL: {"tl": "60s"},
        f"{FACTORIAL}s": {"ttl": "1s"},
        "forebay.compute.v1.ComputeService.Add": {"ttl": "2s"},
    }
    with pytest.raises(RouteError) as caught:
        read_methods([COMPUTE], caches=caches, retention_s=1.0)
    assert caught.value.problems == [
        "forebay/compute/v1/compute.proto: forebay.compute.v1.ComputeService.Add: `cache` keeps "
        "records in the ledger, and `ephemeral` calls have none; remove one",
        "forebay/compute/v1/compute.proto: forebay.compute.v1.ComputeService.Add: `cache.ttl` is 2 "
        "s, but the ledger keeps calls for 1 s; set less, or raise `retention_s`",
        f"caches: {FACTORIAL}: `cache.tl` is not a field of a route; did you mean `ttl`?",
        f"forebay/compute/v1/compute.proto: {FACTORIAL}: `cache` has no `ttl`; set how long a "
        "result is kept",
        f"caches: {FACTORIAL}s: no method of this name is served; did you mean `{FACTORIAL}`?",
    ]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("random", ""),
        ("operands.left.values", ""),
        ("", "forebay.compute.v1.MatMulRequest has no field ''"),
        ("nothing.seed", "forebay.compute.v1.MatMulRequest has no field 'nothing'"),
        ("random.", "forebay.compute.v1.RandomOperands has no field ''"),
        ("left_chunk.x", "forebay.compute.v1.MatMulRequest.left_chunk is not a single message"),
        ("operands.left.values.x", "forebay.compute.v1.Matrix.values is not a single message"),
    ],
)
def test_a_path_leads_through_single_messages(path: str, problem: str) -> None:
    found = path_problem(pb.MatMulRequest.DESCRIPTOR, path)
    assert found.startswith(problem)
    assert bool(found) is bool(problem)


def test_messages_in_repeated_fields_cannot_be_named() -> None:
    problem = path_problem(calls_pb2.ListMethodsResponse.DESCRIPTOR, "methods.name")
    assert problem == (
        "forebay.v1.ListMethodsResponse.methods is not a single message, so nothing within it can "
        "be named"
    )


def test_a_field_is_cleared_without_setting_what_is_around_it() -> None:
    request = pb.MatMulRequest(random=pb.RandomOperands(m=2, seed=0))
    clear_field(request, "random.seed")
    assert request == pb.MatMulRequest(random=pb.RandomOperands(m=2))
    clear_field(request, "operands.left.values")
    assert request == pb.MatMulRequest(random=pb.RandomOperands(m=2))
    clear_field(request, "random")
    assert request == pb.MatMulRequest()


def test_a_field_is_set_by_presence_or_by_its_value() -> None:
    empty, seeded = pb.RandomOperands(), pb.RandomOperands(seed=0, m=1)
    for path in ("seed", "m"):
        assert not is_set(empty, path)
        assert is_set(seeded, path)
    assert not is_set(pb.RandomOperands(m=0), "m")
    assert is_set(pb.MatMulRequest(), "random.seed") is False
    assert is_set(pb.MatMulRequest(random=seeded), "random.seed")
    assert is_set(pb.MatMulRequest(random=empty), "random")
    assert is_set(pb.Matrix(values=[0.0]), "values")
    assert not is_set(pb.Matrix(), "values")
