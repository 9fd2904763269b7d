"""Records, read directly from the server."""

from __future__ import annotations

import time

import redis

from forebay_backends.ledger.keys import PARTITIONS, CallKey, partition_prefix
from tests.faults.nemesis.history import Record


def read_record(server: redis.Redis, call_id: str) -> Record | None:
    """The call's record; None if there is none."""
    key = CallKey(call_id)
    fields: dict[bytes, bytes] = server.hgetall(f"{key.partition}:call:{key}")  # type: ignore[assignment]
    if not fields:
        return None
    words = {name.decode(): value for name, value in fields.items()}
    return Record(
        state=words["state"].decode(),
        reason=words.get("reason", b"").decode(),
        count=int(words["item_count"]),
        attempts=int(words["attempt"]),
        was_begun=float(words.get("begun_at", 0)) > 0,
        created_s=_monotonic_s(words["created_at"]) or 0.0,
        deadline_s=_monotonic_s(words.get("deadline", b"0")),
        finished_s=_monotonic_s(words.get("finished_at", b"0")),
    )


def _monotonic_s(ledger_ms: bytes) -> float | None:
    """The ledger's time on the monotonic clock: on one machine the two differ by a constant."""
    at_ms = float(ledger_ms)
    return at_ms / 1000 - time.time() + time.monotonic() if at_ms > 0 else None


def let_retention_pass(server: redis.Redis) -> None:
    """Makes every finished call's retention end now."""
    for number in range(PARTITIONS):
        done = f"{partition_prefix(number)}:done"
        for call in server.zrange(done, 0, -1):  # type: ignore[union-attr]
            server.zadd(done, {call: 1}, xx=True)
