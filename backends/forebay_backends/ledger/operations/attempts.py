"""A worker's operations on one attempt of a call."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.large_messages import large_message
from forebay_backends.ledger.lifecycle import Event
from forebay_backends.ledger.operations.base import (
    LEASE_MS,
    Lapse,
    Operation,
    Refused,
    Reply,
    about,
    parse_lapses,
    parse_refused,
    refused,
)

ANNOUNCE_ABOVE_BYTES = 64 * 1024
"""Items up to this size are published to gateways; larger ones are read from the stream."""


@dataclass(frozen=True)
class Begun:
    """The data that a worker needs to start a handler.

    `caller` is a serialized `forebay.v1.Caller`, empty where authentication is off.
    `inputs` is the number of requests, None if `request` is the only one; for a live call, the
    number that has arrived so far. `fingerprint` is the gateway's fingerprint of the method,
    empty if it sent none. `requests_end` is the seal on the number of requests of a stream, empty
    until they are complete.
    """

    method: str
    request: bytes
    inputs: int | None
    metadata: bytes
    timeout_s: float | None
    item_limit_bytes: int
    window_bytes: int
    live: bool
    fingerprint: str = ""
    caller: bytes = b""
    requests_end: bytes = b""


@dataclass(frozen=True)
class Flow:
    """The number of items that the fastest watcher has read, and the number of watchers."""

    read_count: int
    watchers: int


def claim(call: CallKey, attempt: int, worker: str) -> Operation[Refused | None]:
    """A worker has the call's message and will begin it."""
    return about(call, "attempts/claim", parse_refused, attempt, worker, LEASE_MS)


def begin(call: CallKey, attempt: int, worker: str, control: str) -> Operation[Begun | Refused]:
    """A worker starts the handler; credit and stops are published on the channel `control`.

    Running one operation twice is safe. A second operation is refused.
    """
    once = uuid.uuid4().hex
    arguments = (attempt, worker, control, once)
    return about(call, "attempts/begin", _begun, *arguments, waits_for_replicas=True)


def renew(
    partition: str, worker: str, claims: Sequence[tuple[CallKey, int]]
) -> Operation[list[Refused | None]]:
    """Renews the leases of calls of one partition.

    Returns, for each claim, None or why it is not the worker's any more.
    """
    named = (part for call, attempt in claims for part in (str(call), attempt))
    return Operation("attempts/renew", partition, (worker, LEASE_MS, *named), _renewed)


def release(call: CallKey, attempt: int, worker: str) -> Operation[Refused | Lapse | None]:
    """The worker gives the call back: it is queued again, or fails with WORKER_LOST.

    Returns a Lapse if the attempt had begun.
    """
    return about(call, "attempts/release", _released, attempt, worker)


def emit(call: CallKey, attempt: int, ordinal: int, item: bytes) -> Operation[Flow | Refused]:
    """Stores an item, once, and publishes it to watchers."""
    large = large_message(call, call.items, ordinal, item)
    arguments = attempt, ordinal, item, ANNOUNCE_ABOVE_BYTES, len(item)
    return about(call, "attempts/emit", _flow, *arguments, large=large)


def emit_transient(call: CallKey, attempt: int, item: bytes) -> Operation[Refused | None]:
    """Publishes an item that is neither stored nor counted; the record keeps the latest."""
    return _keep_latest(call, attempt, "transient", "transient", item)


def report_metadata(call: CallKey, attempt: int, metadata: bytes) -> Operation[Refused | None]:
    """Like `emit_transient`, for metadata of an operation: the record keeps it after the end."""
    return _keep_latest(call, attempt, "operation_metadata", "transient", metadata)


def send_initial_metadata(
    call: CallKey, attempt: int, metadata: bytes
) -> Operation[Refused | None]:
    """Stores the handler's initial metadata and publishes it to watchers."""
    return _keep_latest(call, attempt, "initial_metadata", "initial_metadata", metadata)


def _keep_latest(
    call: CallKey, attempt: int, field: str, word: str, payload: bytes
) -> Operation[Refused | None]:
    return about(call, "attempts/emit_transient", parse_refused, *(attempt, field, word, payload))


def read_flow(call: CallKey, attempt: int) -> Operation[Flow | Refused]:
    """The progress of the readers, for a handler that waits for them."""
    return about(call, "attempts/flow", _flow, attempt)


def finish(
    call: CallKey,
    attempt: int,
    event: Event,
    reason: str,
    outcome: bytes,
    response: bytes | None = None,
) -> Operation[Refused | None]:
    """The handler ended: SUCCEED, FAIL or CANCEL; of a unary method, with its response.

    EXPIRE: the deadline has passed by the worker's clock, before it has by the ledger's.
    """
    item = () if response is None else (response, ANNOUNCE_ABOVE_BYTES)
    arguments = (attempt, str(event), reason, outcome, *item)
    return about(call, "attempts/finish", parse_refused, *arguments, waits_for_replicas=True)


def trim(call: CallKey, attempt: int, count: int, size: int) -> Operation[Refused | None]:
    """Deletes the first `count` items, of `size` bytes in all, which were read."""
    return about(call, "attempts/trim", parse_refused, attempt, count, size)


def _renewed(reply: Reply) -> list[Refused | None]:
    return [parse_refused([word]) for word in reply]


def _begun(reply: Reply) -> Begun | Refused:
    if reply[0] != b"OK":
        return refused(reply[0])
    _, method, request, inputs, metadata, timeout, item_limit, window, live, *about = reply
    fingerprint, caller, requests_end = about
    return Begun(
        method.decode(),
        request,
        None if inputs == b"-1" else int(inputs),
        metadata,
        None if timeout == b"-1" else int(timeout) / 1000,
        int(item_limit),
        int(window),
        live == b"1",
        fingerprint.decode(),
        caller,
        requests_end,
    )


def _flow(reply: Reply) -> Flow | Refused:
    if reply[0] != b"OK":
        return refused(reply[0])
    return Flow(int(reply[1]), int(reply[2]))


def _released(reply: Reply) -> Refused | Lapse | None:
    word, *lapses = reply
    return next(iter(parse_lapses(lapses)), None) if word == b"OK" else refused(word)
