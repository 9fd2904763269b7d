"""Which call, attempt and trace a line of the log belongs to.

A context variable holds the labels of the call that the current task or thread serves.
`log_lines.py` adds them to every line that is logged meanwhile, including a handler's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from forebay.metadata import TRACEPARENT
from forebay.v1 import call_pb2

OWN_TRACE = "own"
"""Stands for the context of the unsampled trace that an ephemeral call begins. Its text is made
only for lines of the log, which few calls have."""


class CallLabels:
    """The labels of one RPC or attempt; they are filled in as they become known."""

    __slots__ = ("attempt", "call_id", "exemplar", "method", "tenant", "traceparent")

    def __init__(
        self,
        method: str = "",
        call_id: str = "",
        attempt: int = 0,
        traceparent: str = "",
        tenant: str = "",
    ) -> None:
        self.method = method
        self.call_id = call_id
        self.attempt = attempt
        """0 while it is unknown."""
        self.traceparent = traceparent
        """W3C trace context of the current span, or `OWN_TRACE`; empty without one."""
        self.tenant = tenant
        """The tenant that the call belongs to; empty if authentication is off."""
        self.exemplar: dict[str, str] | None = None
        """Names the trace in histograms; None unless this process records a span of it."""

    @property
    def trace_id(self) -> str:
        return self._context[3:35]

    @property
    def span_id(self) -> str:
        return self._context[36:52]

    @property
    def _context(self) -> str:
        if self.traceparent is OWN_TRACE:
            return unsampled_traceparent(self.call_id)
        return self.traceparent


NO_CALL = CallLabels()

_SAMPLED_TRACE_BYTES = 24
"""The size of the ids in a member's `sampled_trace`."""

_labels: ContextVar[CallLabels] = ContextVar("forebay_call", default=NO_CALL)
_latest: ContextVar[CallLabels] = ContextVar("forebay_latest_call", default=NO_CALL)


def current_call() -> CallLabels:
    """The labels of the call that the current task or thread serves; `NO_CALL` without one."""
    return _labels.get()


def latest_call() -> CallLabels:
    """The labels of the block that the current task or thread left last; `NO_CALL` without one."""
    return _latest.get()


def label_task(labels: CallLabels) -> None:
    """Labels the current task until it ends."""
    _labels.set(labels)


def name_call(call_id: str, attempt: int = 1) -> None:
    """Adds the call's id and attempt to the labels of the current task, if it has labels."""
    labels = _labels.get()
    if labels is not NO_CALL:
        labels.call_id, labels.attempt = call_id, attempt


def name_trace(traceparent: str) -> None:
    """Adds the call's trace context to the labels of the current task, if it has labels."""
    labels = _labels.get()
    if labels is not NO_CALL:
        labels.traceparent = traceparent


class Labelled:
    """Labels the lines that are logged in the block with those of a call that is known.

    A class, because `contextlib.contextmanager` takes three times the CPU.
    """

    __slots__ = ("_labels", "_token")

    def __init__(self, labels: CallLabels) -> None:
        self._labels = labels

    def __enter__(self) -> CallLabels:
        self._token = _labels.set(self._labels)
        return self._labels

    def __exit__(self, *_: object) -> None:
        _labels.reset(self._token)
        _latest.set(self._labels)


def about_call(
    call_id: str, attempt: int = 0, method: str = "", traceparent: str = "", tenant: str = ""
) -> Labelled:
    """Labels the lines that are logged in the block."""
    return Labelled(CallLabels(method, call_id, attempt, traceparent, tenant))


def call_of_task(task_id: str) -> tuple[str, str]:
    """The tenant and the id of the call in the id of its Celery task, `TENANT/ID#ATTEMPT`.

    A call without a tenant has only `ID#ATTEMPT`, and a first attempt is not named.
    """
    tenant, _, call_id = task_id.partition("#")[0].rpartition("/")
    return tenant, call_id


def unsampled_traceparent(call_id: str) -> str:
    """The context of the unsampled trace that an ephemeral call begins; the gateway made its id."""
    trace_id = call_id.replace("-", "")
    return f"00-{trace_id}-{trace_id[16:]}-00"


def trace_of_member(member: call_pb2.BatchMember) -> tuple[str, bool | None]:
    """The trace context of a call in a batch, empty without one, and whether it is sampled.

    None instead of whether it is sampled: the context is in the call's metadata, which says so.
    """
    if member.begins_unsampled_trace:
        return unsampled_traceparent(member.call_id), False
    ids = member.sampled_trace
    if len(ids) == _SAMPLED_TRACE_BYTES:
        text = ids.hex()
        return f"00-{text[:32]}-{text[32:]}-01", True
    return stored_traceparent(member.metadata), None


def stored_traceparent(metadata: call_pb2.Metadata) -> str:
    """The trace context in stored metadata; empty without one.

    Not by `traceparent_of`, which would take twice the CPU.
    """
    for entry in metadata.entries:
        if entry.key == TRACEPARENT:
            return entry.value.decode("ascii", "replace")
    return ""


def traceparent_of(pairs: Iterable[tuple[str, str | bytes]]) -> str:
    """The trace context in metadata; empty without one."""
    for key, value in pairs:
        if key == TRACEPARENT:
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    return ""
