"""The cache keys of calls: calls with one key share a run. Pure.

A key is the SHA-256 of everything that the response may depend on: the method and the definition
of its messages, the scope (one tenant or all), the forwarded metadata, and the request. The request
is hashed in its canonical form, so that clients that serialize it differently share runs. This form
has no ignored fields, but has the fields that this version of the message does not know.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.routes import Method
from forebay.routes.cache import Cache
from forebay.routes.field_paths import clear_field, is_set
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import PARTITIONS, CallKey, partition_of
from forebay_gateway.rpc.options import TRACE_KEYS, CallOptions
from forebay_gateway.rpc.uuid7 import uuid7

_SUFFIXES = tuple(b"%02x" % number for number in range(256))


@dataclass(frozen=True)
class CacheKey:
    """The key with which the ledger finds a run to share, or begins one.

    `owner` is the owner of the run. With `renews`, the call does not share an existing run: it
    begins a run that replaces that one.
    """

    digest: str
    owner: str
    ttl_s: float
    renews: bool = False

    @property
    def partition(self) -> int:
        """The number of the ledger's partition that has the key's entry and its runs."""
        return partition_of(self.digest)

    def new_call(self) -> CallKey:
        """The key of a new call in this partition; the last two digits of its id select it."""
        start = uuid7()[:-2]
        checksum = zlib.crc32(str(CallKey(start, self.owner)).encode())
        first = int.from_bytes(os.urandom(1))
        for suffix in (*_SUFFIXES[first:], *_SUFFIXES):
            if zlib.crc32(suffix, checksum) % PARTITIONS == self.partition:
                return CallKey(f"{start}{suffix.decode()}", self.owner)
        raise AssertionError("the suffixes reach every partition")


def may_share(options: CallOptions) -> bool:
    """Whether the call may share runs: it is not delayed, and may get another id than its own."""
    if options.start is not None:
        return False
    return options.call_id is None or (options.share and not options.resume_from)


def cache_key(method: Method, options: CallOptions, request: bytes, tenant: str) -> CacheKey | None:
    """The key of a call with one request; None if the call must not share a run.

    Delayed calls share none: an identical call may have to start sooner.
    """
    cache = method.route.cache
    if cache is None or options.start is not None:
        return None
    canonical = _canonical(method, cache, request)
    if canonical is None:
        return None
    owner = "" if cache.for_everyone else tenant
    scope = "everyone" if cache.for_everyone else f"tenant {tenant}"
    names = (part.encode() for part in (method.name, method.fingerprint, scope))
    digest = hashlib.sha256()
    for part in (*names, *_metadata(options.forwarded_metadata), canonical):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return CacheKey(digest.hexdigest(), owner, cache.ttl_s, renews=options.no_cache)


def _metadata(forwarded: call_pb2.Metadata) -> Iterator[bytes]:
    """Keys and values, sorted by key, without the trace context, which differs for each call."""
    for entry in sorted(forwarded.entries, key=lambda one: one.key):
        if entry.key not in TRACE_KEYS:
            yield entry.key.encode()
            yield entry.value


def _canonical(method: Method, cache: Cache, request: bytes) -> bytes | None:
    """The request without ignored fields; None if one of `only_with_fields` is not set."""
    message = method.request_class.FromString(request)
    if not all(is_set(message, path) for path in cache.only_with_fields):
        return None
    for path in cache.ignore_fields:
        clear_field(message, path)
    return message.SerializeToString(deterministic=True)
