"""The fields of a call's record, as one table.

The ledger's scripts get from it which fields to delete when a call ends and when a lease ends;
`MODEL.md` gets its table from it. A contract test compares the table with records on a server.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.lifecycle import State

ENDED = frozenset(state for state in State if state.terminal)
ACTIVE = frozenset(State) - ENDED
ALL = ACTIVE | ENDED
_QUEUED = frozenset({State.QUEUED})
_RUNNING = frozenset({State.RUNNING})
_WITH_REQUESTS = _QUEUED | _RUNNING
"""The states of a call whose requests have come, or that is live."""
_STARTING_LATER = frozenset({State.DELAYED}) | _WITH_REQUESTS
"""The active states of a call with a single request."""
_STREAMED = frozenset({State.RECEIVING}) | _WITH_REQUESTS | ENDED
"""The states of a call whose requests are a stream."""

_TIME = ("time", "ms")
_DURATION = ("number", "ms")
_COUNT = ("number", "")
_SIZE = ("number", "bytes")
_TEXT = ("text", "")
_BYTES = ("bytes", "")
_FLAG = ("0 or 1", "")


@dataclass(frozen=True)
class Field:
    """A field of the record.

    `states` are those in which the field may be set. A field that no ended call has is deleted
    when the call ends; a field `of_claim`, when a worker loses or releases the call.
    """

    name: str
    kind: tuple[str, str]
    states: frozenset[State]
    writer: str
    meaning: str
    of_claim: bool = False

    @property
    def type(self) -> str:
        return self.kind[0]

    @property
    def unit(self) -> str:
        """Empty if the value has none."""
        return self.kind[1]


FIELDS = (
    # Its method and request.
    Field("method", _TEXT, ALL, "gateway", "Full name of the gRPC method"),
    Field("digest", _TEXT, ALL, "gateway", "SHA-256 of the first request message, hexadecimal"),
    Field("fingerprint", _TEXT, ACTIVE, "gateway", "Version of the method's messages"),
    Field("request", _BYTES, _STARTING_LATER, "gateway", "The request message of a unary request"),
    Field("metadata", _BYTES, ACTIVE, "gateway", "Request metadata that the handler gets"),
    Field("caller", _BYTES, ACTIVE, "gateway", "`forebay.v1.Caller`; unset: not authenticated"),
    Field("traceparent", _TEXT, ALL, "gateway", "W3C trace context; unset: the call is not traced"),
    Field("attached", _FLAG, ALL, "gateway", "1: another caller attached to the call"),
    Field(
        "cache",
        _TEXT,
        _WITH_REQUESTS | ENDED,
        "gateway",
        "Cache key: identical calls share this run; unset: none do",
    ),
    Field(
        "cache_ttl_ms", _DURATION, _WITH_REQUESTS, "gateway", "How long calls may share its result"
    ),
    # Where its task message goes.
    Field("task", _TEXT, ALL, "gateway", "Celery task"),
    Field("queue", _TEXT, ALL, "gateway", "Celery queue"),
    Field("priority", _COUNT, ALL, "gateway", "0 to 9, 9 is most urgent"),
    Field(
        "piggybacked",
        _FLAG,
        _WITH_REQUESTS | ENDED,
        "gateway",
        "1: another call's task message names this call",
        of_claim=True,
    ),
    Field(
        "held",
        _FLAG,
        _WITH_REQUESTS,
        "gateway",
        "1: a gateway holds the task message back, in the queue of the call's tenant",
        of_claim=True,
    ),
    Field(
        "on_end",
        _BYTES,
        ACTIVE,
        "gateway",
        "The task that is told of the end, a `forebay.v1.OnEnd`; unset: none is",
    ),
    # Its state.
    Field("state", _TEXT, ALL, "all", "State of the call"),
    Field("reason", _TEXT, ENDED, "all", "Reason of a failure; empty if there is none"),
    Field("outcome", _BYTES, ENDED, "all", "`forebay.v1.Outcome`; empty if the ledger ended it"),
    Field("created_at", _TIME, ALL, "gateway", "When the call was accepted"),
    Field(
        "start_at",
        _TIME,
        _STARTING_LATER | ENDED,
        "gateway",
        "When the call is due; unset: it was queued at once",
    ),
    Field("queued_at", _TIME, _WITH_REQUESTS | ENDED, "gateway", "When the call was queued"),
    Field("begun_at", _TIME, _WITH_REQUESTS | ENDED, "worker", "When the last attempt began"),
    Field("finished_at", _TIME, ENDED, "all", "When the call ended"),
    # The worker that has it.
    Field("attempt", _COUNT, ALL, "gateway, reaper", "Number of the attempt, from 1"),
    Field(
        "earlier_attempts",
        _TEXT,
        _WITH_REQUESTS | ENDED,
        "all",
        "Attempts that lost their worker: number, begin, end (ms) and worker, a line each",
    ),
    Field("worker", _TEXT, _WITH_REQUESTS, "worker", "Worker that holds the lease", of_claim=True),
    Field("lease_until", _TIME, _WITH_REQUESTS, "worker", "When the lease ends", of_claim=True),
    Field(
        "control_channel",
        _TEXT,
        _RUNNING,
        "worker",
        "Channel of the handler's process",
        of_claim=True,
    ),
    Field("begin_token", _TEXT, _RUNNING, "worker", "Identifies a retried `begin`", of_claim=True),
    # Its deadlines.
    Field("deadline", _TIME, ALL, "gateway, worker", "When the call expires; 0 or unset: never"),
    Field(
        "call_deadline",
        _TIME,
        _RUNNING,
        "worker",
        "The caller's deadline; `deadline` may be the attempt's, which is sooner; 0: none",
        of_claim=True,
    ),
    Field("queue_wait_until", _TIME, _WITH_REQUESTS, "gateway, reaper", "When a queued call fails"),
    Field(
        "watchers",
        _TEXT,
        ALL,
        "gateway",
        "Gateways that watch the call: the end of the lease (ms) and the channel of each",
    ),
    Field("observed", _FLAG, ALL, "gateway", "1: gateways observe the call, or did"),
    Field(
        "abandoned_at",
        _TIME,
        ALL,
        "all",
        "When the last watcher disconnected; unset: it is watched",
    ),
    Field(
        "credit_wait_since",
        _TIME,
        _RUNNING,
        "worker",
        "Since when the handler waits for watchers to read; unset: it does not",
        of_claim=True,
    ),
    Field("idle_until", _TIME, _RUNNING, "worker", "When a wait for a request ends", of_claim=True),
    # Its policy.
    Field("queue_wait_ms", _DURATION, ACTIVE, "gateway", "How long the call may be queued"),
    Field("run_limit_ms", _DURATION, ACTIVE, "gateway", "How long an attempt may run; 0: no limit"),
    Field("idle_limit_ms", _DURATION, _WITH_REQUESTS, "gateway", "Limit of a wait for a request"),
    Field("linger_ms", _DURATION, ALL, "gateway", "From `abandoned_at` to the cancellation"),
    Field("detach", _FLAG, ACTIVE, "gateway", "1: an abandoned call runs on"),
    Field("retention_ms", _DURATION, ALL, "gateway", "How long an ended call is kept"),
    Field("attempts_limit", _COUNT, ACTIVE, "gateway", "How many attempts there may be"),
    Field(
        "may_run_again", _FLAG, ACTIVE, "gateway", "1: a begun attempt may be followed by another"
    ),
    Field("deterministic", _FLAG, ACTIVE, "gateway", "1: even after items were stored"),
    Field("item_limit_bytes", _SIZE, ALL, "gateway", "Unread items that the ledger may hold"),
    Field("window_bytes", _SIZE, ALL, "gateway", "How far a handler may run ahead of watchers"),
    # Its requests, most of it if they are a stream.
    Field("request_count", _COUNT, _STREAMED, "gateway", "Requests that were stored"),
    Field(
        "requests_end",
        _BYTES,
        _WITH_REQUESTS,
        "gateway",
        "Seal on the number of requests, once they are complete; unset: no signing keys",
    ),
    Field("request_bytes", _SIZE, ALL, "gateway", "Size of all stored requests"),
    Field("live_requests", _TEXT, _WITH_REQUESTS, "gateway", "A live call's: `open`, `complete`"),
    Field(
        "requests_read", _COUNT, _RUNNING, "worker", "Requests that the handler read", of_claim=True
    ),
    Field("request_bytes_read", _SIZE, _RUNNING, "worker", "Their size", of_claim=True),
    Field("trimmed_request_bytes", _SIZE, _RUNNING, "worker", "Size of the deleted requests"),
    Field(
        "upload_waits",
        _FLAG,
        _WITH_REQUESTS,
        "gateway",
        "1: the gateway stores no more requests until the handler has read some",
    ),
    # Its items.
    Field(
        "response",
        _BYTES,
        ENDED - {State.EXPIRED},
        "worker",
        "The response of a unary method, which is its only item",
    ),
    Field("item_count", _COUNT, ALL, "gateway, worker", "Items that were stored"),
    Field("item_bytes", _SIZE, ALL, "gateway, worker", "Their size"),
    Field("trimmed_items", _COUNT, _WITH_REQUESTS | ENDED, "worker", "Items that were deleted"),
    Field("trimmed_bytes", _SIZE, _WITH_REQUESTS | ENDED, "worker", "Their size"),
    Field("items_read", _COUNT, _WITH_REQUESTS, "gateway", "Items that the fastest watcher read"),
    Field("transient", _BYTES, _WITH_REQUESTS, "worker", "The latest transient item"),
    Field(
        "operation_metadata",
        _BYTES,
        _WITH_REQUESTS | ENDED,
        "worker",
        "The latest metadata that the handler of an operation yielded",
    ),
    Field(
        "initial_metadata",
        _BYTES,
        _WITH_REQUESTS | ENDED,
        "worker",
        "Initial metadata of the handler, a `forebay.v1.Metadata`",
    ),
)


def fields_of_active_calls() -> tuple[str, ...]:
    """The fields that are deleted when a call ends."""
    return tuple(field.name for field in FIELDS if not field.states & ENDED)


def fields_of_a_claim() -> tuple[str, ...]:
    """The fields that are deleted when a worker loses or releases a call."""
    return tuple(field.name for field in FIELDS if field.of_claim)
