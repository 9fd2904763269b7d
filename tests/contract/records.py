"""Calls for the ledger's tests, and the data that the server has of them."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import PARTITIONS, CallKey, partition_prefix
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import Begun, begin, claim
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.calls import CallSnapshot, NewCall, accept, watch
from forebay_backends.ledger.operations.maintenance import Swept, sweep
from forebay_backends.ledger.scripts import LEASE_S

T = TypeVar("T")

WORKER = "worker-1"
OTHER_WORKER = "worker-2"
NOBODY = "test:gateway:nobody-hears"
QUEUE = "queue"

_ORDINARY = NewCall(
    method="pkg.Service.Method",
    task="pkg.tasks.method",
    queue=QUEUE,
    priority=0,
    digest="d1",
    receiving=False,
    request=b"request",
    metadata=b"metadata",
    timeout_s=None,
    queue_wait_s=60.0,
    run_limit_s=None,
    linger_s=10.0,
    detach=False,
    item_limit_bytes=1000,
    window_bytes=100,
    retention_s=600.0,
    attempts_limit=3,
    may_run_again=True,
    deterministic=True,
    live=False,
    idle_s=60.0,
    fingerprint="uu-1",
    caller=b"jane",
)


def new_call(**changes: Any) -> NewCall:
    """The record of an ordinary call, with changes."""
    return replace(_ORDINARY, **changes)


def new_key(owner: str = "") -> CallKey:
    """The key of a call that is not in the ledger."""
    return CallKey(f"call-{uuid.uuid4()}", owner)


def with_lease(operation: Operation[T], seconds: float) -> Operation[T]:
    """The operation, with a shorter lease."""
    lease_ms = int(LEASE_S * 1000)
    assert operation.arguments.count(lease_ms) == 1
    return replace(
        operation,
        arguments=tuple(
            round(seconds * 1000) if argument == lease_ms else argument
            for argument in operation.arguments
        ),
    )


def parse_watches(field: str) -> dict[str, int]:
    """The ends of the watchers' leases (ms), by channel, from a record's field `watchers`."""
    words = field.split()
    return dict(zip(words[1::2], map(int, words[::2]), strict=True))


@dataclass(frozen=True)
class Record:
    """A call in a ledger, read from the server."""

    ledger: BlockingLedger
    call: CallKey

    @property
    def fields(self) -> dict[str, bytes]:
        """The fields of the record."""
        found = cast(dict[bytes, bytes], self.ledger.redis.hgetall(self._key("call")))
        return {name.decode(): value for name, value in found.items()}

    @property
    def state(self) -> State:
        """The state of the call."""
        return State(self.fields["state"].decode())

    @property
    def items(self) -> list[bytes]:
        """The stored items."""
        response = self.fields.get("response")
        return self._stream("items") if response is None else [response]

    @property
    def inputs(self) -> list[bytes]:
        """The stored requests."""
        return self._stream("inputs")

    @property
    def watchers(self) -> list[str]:
        """The channels that watch the call."""
        return list(self.watches)

    @property
    def watches(self) -> dict[str, int]:
        """The ends of the watchers' leases (ms), by channel."""
        return parse_watches(self.fields.get("watchers", b"").decode())

    def set_watch(self, channel: str, until_ms: int) -> None:
        """Moves the end of a watcher's lease."""
        watches = self.watches | {channel: until_ms}
        text = " ".join(f"{until} {name}" for name, until in watches.items())
        self.ledger.redis.hset(self._key("call"), "watchers", text)

    def snapshot(self, channel: str = NOBODY) -> CallSnapshot:
        """The state of the call, as `watch` reports it."""
        snapshot = self.ledger.run(watch(self.call, channel))
        assert isinstance(snapshot, CallSnapshot)
        return snapshot

    def ending(self) -> Ending:
        """How the call ended."""
        ending = self.snapshot().ending
        assert ending is not None
        return ending

    def is_past(self, field: str) -> bool:
        """Whether the time in the field has passed, by the server's clock."""
        seconds, microseconds = cast(tuple[int, int], self.ledger.redis.time())
        return seconds * 1000 + microseconds // 1000 > float(self.fields[field])

    def is_past_its_deadline(self) -> bool:
        """Whether the call is due to expire."""
        return self.is_past("deadline")

    def _key(self, kind: str) -> str:
        return f"{self.call.partition}:{kind}:{self.call}"

    def _stream(self, kind: str) -> list[bytes]:
        entries = cast(list[Any], self.ledger.redis.xrange(self._key(kind)))
        return [fields[b"m"] for _, fields in entries]


def accepted(
    ledger: BlockingLedger, channel: str = NOBODY, call: CallKey | None = None, **changes: Any
) -> Record:
    """A call that was just accepted."""
    call = call or new_key()
    assert ledger.run(accept(call, new_call(**changes), channel, Push())) is None
    return Record(ledger, call)


def running(
    ledger: BlockingLedger,
    channel: str = NOBODY,
    control: str = "control",
    call: CallKey | None = None,
    **changes: Any,
) -> Record:
    """A call that a worker has begun."""
    record = accepted(ledger, channel, call, **changes)
    assert ledger.run(claim(record.call, 1, WORKER)) is None
    assert isinstance(ledger.run(begin(record.call, 1, WORKER, control)), Begun)
    return record


def sweep_all(ledger: BlockingLedger, consumed: Collection[str] = ()) -> list[Swept]:
    """Sweeps all partitions, as a process does that has swept them before."""
    seconds, _ = cast(tuple[int, int], ledger.redis.time())
    for number in range(PARTITIONS):
        swept = {"since": 0, "last": seconds * 1000}
        ledger.redis.hset(f"{partition_prefix(number)}:sweep_state", mapping=swept)
    return [ledger.run(sweep(number, consumed)) for number in range(PARTITIONS)]
