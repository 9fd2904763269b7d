"""A route's cache: which calls share a run, and for how long its result is kept. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor

from forebay.deadline import clamped_s
from forebay.routes.field_paths import path_problem
from forebay.routes.fields import fill
from forebay.v1 import route_pb2

_Levels = descriptor_pb2.MethodOptions


@dataclass(frozen=True)
class Cache:
    """The cache of a route: the fields of `forebay.v1.Cache`, with defaults filled in."""

    ttl_s: float
    for_everyone: bool = False
    """Whether calls of different tenants may share a run."""
    ignore_fields: tuple[str, ...] = ()
    only_with_fields: tuple[str, ...] = ()


def read_cache(option: route_pb2.Route) -> Cache | None:
    """The cache that the option describes, None without one; `cache_problems` checks it."""
    if not option.HasField("cache"):
        return None
    cache = option.cache
    return Cache(
        ttl_s=clamped_s(cache.ttl.ToNanoseconds() / 1e9),
        for_everyone=cache.scope == route_pb2.CACHE_SCOPE_EVERYONE,
        ignore_fields=tuple(cache.ignore_fields),
        only_with_fields=tuple(cache.only_with_fields),
    )


def with_cache(
    option: route_pb2.Route, table: Mapping[str, Any] | None
) -> tuple[route_pb2.Route, list[str]]:
    """The option with its cache replaced by a table from the settings, and a line for each problem.

    A `ttl` of 0 s turns the cache off. If `table` is None, the option stays as it is.
    """
    if table is None:
        return option, []
    changed = route_pb2.Route()
    changed.CopyFrom(option)
    changed.ClearField("cache")
    changed.cache.SetInParent()
    problems = list(fill(changed.cache, table, "cache."))
    ttl = changed.cache.ttl
    if changed.cache.HasField("ttl") and not (problems or ttl.ToNanoseconds()):
        changed.ClearField("cache")
    return changed, problems


def cache_problems(
    method: MethodDescriptor, option: route_pb2.Route, level: int, retention_s: float | None
) -> Iterator[str]:
    """Describes every problem of the option's cache.

    `level` is the method's `idempotency_level`; `retention_s` is the gateway's setting, None if it
    is not known.
    """
    cache = read_cache(option)
    if cache is None:
        return
    yield from _kind_problems(option, level)
    yield from _ttl_problems(option, cache, retention_s)
    if option.cache.scope not in route_pb2.CacheScope.values():
        expected = ", ".join(route_pb2.CacheScope.keys()[1:])
        yield f"`cache.scope` is {option.cache.scope}, which is not a CacheScope; set {expected}"
    for name in ("ignore_fields", "only_with_fields"):
        for path in getattr(cache, name):
            problem = path_problem(method.input_type, path)
            if problem:
                yield f"`cache.{name}` names {path!r}: {problem}"
    for path in cache.only_with_fields:
        if any(_is_within(path, ignored) for ignored in cache.ignore_fields):
            yield f"`cache` has {path!r} in `only_with_fields` and in `ignore_fields`; remove one"


def _kind_problems(option: route_pb2.Route, level: int) -> Iterator[str]:
    """Describes why calls of this method have no result to share."""
    if option.HasField("plain"):
        yield "`cache` is not for `plain` tasks, which have no record in the ledger; remove it"
    if level != _Levels.NO_SIDE_EFFECTS:
        yield (
            "`cache` needs an `idempotency_level` of NO_SIDE_EFFECTS, since a call that shares the "
            "run of another one has no effects; set it, or remove `cache`"
        )
    if option.live:
        yield "`cache` is not for `live` methods, whose requests come while they run; remove one"
    if option.ephemeral:
        yield "`cache` keeps records in the ledger, and `ephemeral` calls have none; remove one"


def _ttl_problems(
    option: route_pb2.Route, cache: Cache, retention_s: float | None
) -> Iterator[str]:
    if not option.cache.HasField("ttl"):
        yield "`cache` has no `ttl`; set how long a result is kept"
    elif cache.ttl_s <= 0:
        yield f"`cache.ttl` is {cache.ttl_s:g} s; set more than 0 s, or remove `cache`"
    elif retention_s is not None and cache.ttl_s > retention_s:
        yield (
            f"`cache.ttl` is {cache.ttl_s:g} s, but the ledger keeps calls for {retention_s:g} s; "
            "set less, or raise `retention_s`"
        )


def _is_within(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")
