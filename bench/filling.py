"""Fills a ledger with finished calls, by copying what real finished calls left in it.

The server makes the copies. This module has no list of what a finished call leaves; it looks
for the call's own keys, and for the partition's indexes that name the call. A copy is in the
same partition as its model, and its id belongs to that partition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, cast

import redis

from forebay_backends.ledger.keys import CallKey
from tests.harness import eventually

A_BATCH = 1000
_REWRITE_TIMEOUT_S = 120.0

# KEYS[1]: the partition. ARGV: the numbers of kinds of keys, of sorted sets, of hashes; their
# names; the model's id; the copies' ids. COPY also copies the time to live.
_COPY = """
local P, at = KEYS[1], 4
local function names(count)
  local found = {}
  for i = 1, tonumber(count) do found[i], at = ARGV[at], at + 1 end
  return found
end
local kinds, sets, hashes = names(ARGV[1]), names(ARGV[2]), names(ARGV[3])
local model = ARGV[at]
local copies = #ARGV - at
for i = at + 1, #ARGV do
  for _, kind in ipairs(kinds) do
    redis.call('COPY', P .. ':' .. kind .. ':' .. model, P .. ':' .. kind .. ':' .. ARGV[i])
  end
end
for _, name in ipairs(sets) do
  local score = redis.call('ZSCORE', P .. ':' .. name, model)
  for i = at + 1, #ARGV do redis.call('ZADD', P .. ':' .. name, score, ARGV[i]) end
end
for _, name in ipairs(hashes) do
  local value = redis.call('HGET', P .. ':' .. name, model)
  for i = at + 1, #ARGV do redis.call('HSET', P .. ':' .. name, ARGV[i], value) end
  if name == 'size' then redis.call('INCRBY', P .. ':bytes', value * copies) end
end
"""


@dataclass(frozen=True)
class Traces:
    """The names that a finished call uses in its partition, without the partition's prefix."""

    kinds: tuple[str, ...]
    sorted_sets: tuple[str, ...]
    hashes: tuple[str, ...]


def traces_of(client: redis.Redis, call: CallKey) -> Traces:
    """The call's traces; use it on small ledgers, as it looks at every key of the partition."""
    prefix, member = f"{call.partition}:", str(call)
    names: dict[str, list[str]] = defaultdict(list)
    for raw in client.scan_iter(f"{prefix}*"):
        name = raw.decode().removeprefix(prefix)
        if name.endswith(f":{member}"):
            names["kind"].append(name.removesuffix(f":{member}"))
        elif _names(client, raw, member):
            names[cast(bytes, client.type(raw)).decode()].append(name)
    return Traces(*(tuple(sorted(names[kind])) for kind in ("kind", "zset", "hash")))


def fill(client: redis.Redis, models: Sequence[CallKey], count: int) -> None:
    """As `add_copies`, with the append-only file off meanwhile.

    Turning the file on again rewrites it, and this waits until that is done.
    """
    client.config_set("appendonly", "no")
    add_copies(client, models, count)
    client.config_set("appendonly", "yes")
    eventually(lambda: _rewritten(client), "the file is rewritten", _REWRITE_TIMEOUT_S)


def add_copies(client: redis.Redis, models: Sequence[CallKey], count: int) -> None:
    """Adds `count` finished calls, copies of the models; each partition must have a model."""
    copy = client.register_script(_COPY)
    traces = {model: traces_of(client, model) for model in models}
    turns: dict[str, Iterator[CallKey]] = {
        partition: cycle([model for model in models if model.partition == partition])
        for partition in {model.partition for model in models}
    }
    for partition, calls in batches(count):
        model = next(turns[partition])
        copy(keys=[partition], args=[*_words(traces[model]), str(model), *calls])


def batches(count: int) -> Iterator[tuple[str, list[str]]]:
    """The ids of `count` new calls, grouped by partition, at most 1,000 in a group."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for number in range(count):
        call = CallKey(f"filled-{number:029}")  # as long as a UUID
        partition = call.partition
        waiting[partition].append(str(call))
        if len(waiting[partition]) == A_BATCH:
            yield partition, waiting.pop(partition)
    yield from waiting.items()


def _names(client: redis.Redis, key: bytes, member: str) -> bool:
    match client.type(key):
        case b"zset":
            return client.zscore(key, member) is not None
        case b"hash":
            return bool(client.hexists(cast(Any, key), member))
    return False


def _words(traces: Traces) -> list[str | int]:
    lists = (traces.kinds, traces.sorted_sets, traces.hashes)
    return [*map(len, lists), *(name for names in lists for name in names)]


def _rewritten(client: redis.Redis) -> bool:
    state = client.info("persistence")
    return bool(state["aof_enabled"]) and not (
        state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]
    )
