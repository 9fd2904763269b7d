r"""Messages on pub/sub channels: frames for gateways, control frames for workers.

A frame is a line of words and a payload: `WORD CALL …\n` and bytes. Lua scripts write most frames,
so they are text, which needs no codec and is readable in `redis-cli SUBSCRIBE`. `MODEL.md` lists
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State


@dataclass(frozen=True)
class Item:
    """An item was stored; the frame contains all of it."""

    ordinal: int
    payload: bytes


@dataclass(frozen=True)
class ItemsStored:
    """The ledger has `count` items, of `sent` bytes."""

    count: int
    sent: int


@dataclass(frozen=True)
class TransientItem:
    """An item that is published but not stored as one of the call's items."""

    payload: bytes


@dataclass(frozen=True)
class Initial:
    """The handler's initial metadata: a serialized `forebay.v1.Metadata`."""

    payload: bytes


@dataclass(frozen=True)
class RequestWindowOpen:
    """The handler of a live call has read enough: the gateway may store more requests."""


@dataclass(frozen=True)
class Ending:
    """The call ended, with `count` items.

    `outcome` is a serialized `forebay.v1.Outcome`, empty if the ledger ended the call: then
    `reason` is set. `response` is the response of a unary method, its only item; None if there is
    none, or if it is to be read from the ledger.
    """

    state: State
    reason: str
    count: int
    attempts: int
    queue_ms: int
    run_ms: int
    outcome: bytes
    response: bytes | None = None


@dataclass(frozen=True)
class Reply:
    """The answer to a batch of ephemeral calls: a serialized `forebay.v1.BatchReply`."""

    payload: bytes


@dataclass(frozen=True)
class BatchHeartbeat:
    """A worker has had these ephemeral calls for a while; they are running, or wait for a slot.

    The frame contains the `CallKey.task_id` of each call.
    """

    worker: str
    calls: tuple[CallKey, ...]
    running: bool


@dataclass(frozen=True)
class Lost:
    """The process that ran this batch of ephemeral calls has died."""

    batch_id: str


@dataclass(frozen=True)
class Recall:
    """Another gateway needs shares of this tenant's quotas that this gateway may not use."""

    tenant: str


CallEvent = Item | ItemsStored | TransientItem | Initial | RequestWindowOpen | Ending
GatewayFrame = CallEvent | Reply | BatchHeartbeat | Lost | Recall


def parse_frame(frame: bytes) -> tuple[str, GatewayFrame]:
    """The call's key and the event; the key is empty if the frame is about no durable call.

    Raises ValueError if the frame is invalid.
    """
    head, newline, payload = frame.partition(b"\n")
    words = head.decode("ascii").split(" ")
    if not newline:
        raise ValueError(f"a frame without a line: {frame[:40]!r}")
    match words:
        case ["item", key, ordinal]:
            return key, Item(int(ordinal), payload)
        case ["stored", key, count, sent]:
            return key, ItemsStored(int(count), int(sent))
        case ["transient", key]:
            return key, TransientItem(payload)
        case ["initial_metadata", key]:
            return key, Initial(payload)
        case ["window_open", key]:
            return key, RequestWindowOpen()
        case ["end", key, *ending, "-"]:
            return key, parse_ending(ending, payload)
        case ["end", key, *ending, size]:
            return key, parse_ending(ending, payload[int(size) :], payload[: int(size)])
        case ["reply"]:
            return "", Reply(payload)
        case ["heartbeat", worker, "reserved" | "running" as state, *names]:
            calls = tuple(map(CallKey.of_task_id, names))
            return "", BatchHeartbeat(worker, calls, state == "running")
        case ["lost", batch_id]:
            return "", Lost(batch_id)
        case ["recall", tenant]:
            return "", Recall(tenant)
    raise ValueError(f"an unknown frame: {head[:40]!r}")


def parse_ending(words: list[str], outcome: bytes, response: bytes | None = None) -> Ending:
    """Parses the words of an `end` frame, and of `watch`'s reply."""
    state, reason, count, attempts, queue_ms, run_ms = words
    return Ending(
        State(state),
        "" if reason == "-" else reason,
        int(count),
        int(attempts),
        int(queue_ms),
        int(run_ms),
        outcome,
        response,
    )


def reply_frame(payload: bytes) -> bytes:
    return b"reply\n" + payload


def batch_heartbeat_frame(heartbeat: BatchHeartbeat) -> bytes:
    state = "running" if heartbeat.running else "reserved"
    names = (call.task_id for call in heartbeat.calls)
    return " ".join(("heartbeat", heartbeat.worker, state, *names)).encode() + b"\n"


def lost_frame(lost: Lost) -> bytes:
    return f"lost {lost.batch_id}\n".encode()


@dataclass(frozen=True)
class Credit:
    """The fastest watcher has read `read_count` items."""

    read_count: int


@dataclass(frozen=True)
class RequestsCame:
    """The ledger has `count` requests of a live call, or its last request."""

    count: int


@dataclass(frozen=True)
class Stop:
    """The attempt is over, and the call has this state: the handler must stop."""

    state: State


@dataclass(frozen=True)
class CallerGone:
    """The caller of an ephemeral call has disconnected: workers skip the call."""


def caller_gone_frame(key: str) -> bytes:
    return f"caller_gone {key}".encode()


def stop_frame(key: str, attempt: int, stop: Stop) -> bytes:
    return f"stop {key} {attempt} {stop.state}".encode()


ControlEvent = Credit | RequestsCame | Stop | CallerGone


def parse_control(frame: bytes) -> tuple[str, int, ControlEvent]:
    """The call's key, the attempt and the event; raises ValueError if the frame is invalid."""
    match frame.decode("ascii").split(" "):
        case ["credit", key, attempt, read_count]:
            return key, int(attempt), Credit(int(read_count))
        case ["requests", key, attempt, count]:
            return key, int(attempt), RequestsCame(int(count))
        case ["stop", key, attempt, state]:
            return key, int(attempt), Stop(State(state))
        case ["caller_gone", key]:
            return key, 1, CallerGone()
    raise ValueError(f"an unknown control frame: {frame[:40]!r}")
