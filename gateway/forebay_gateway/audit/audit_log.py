"""Writes refusals, and some actions of callers, to the logger `forebay.audit`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from forebay.errors import BackendUnavailable, ForebayError
from forebay.metadata import CALL_ID, trace_parts
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.ledger.keys import is_call_id
from forebay_backends.metrics.registry import Figures
from forebay_backends.settings import Settings, SettingsError
from forebay_backends.telemetry.call_labels import traceparent_of
from forebay_gateway.admission.caller_identity import caller_of
from forebay_gateway.audit.audit_file import AuditFile, AuditStream
from forebay_gateway.audit.denial_limit import DenialLimit
from forebay_gateway.audit.entry import Decision, Entry, Event
from forebay_gateway.identity.principal import Principal
from forebay_gateway.rpc.context import Context

WINDOW_S = 10.0
ALL_TENANTS = "-"

_RETRY_AFTER_S = 5.0

_log = logging.getLogger(__name__)
_audit = logging.getLogger("forebay.audit")

Write: TypeAlias = Callable[[str], None]


class AuditLog:
    """One per gateway process; `write` gets lines, and raises OSError. None: there is no log.

    With `is_required`, an action that must be in the log fails if the log can't be written.
    `is_broken` says whether the last entry could not be written.
    """

    def __init__(self, write: Write | None, *, is_required: bool = False) -> None:
        self._write = write
        self._is_required = is_required
        self._limit = DenialLimit()
        self.is_broken = False
        self._outage = OutageLog(
            _log, "the audit log can't be written", "the audit log is written again"
        )

    @property
    def is_on(self) -> bool:
        return self._write is not None

    def denied(
        self,
        context: Context,
        error: ForebayError,
        *,
        path: str,
        permission: str,
        principal: Principal | None = None,
        event: Event = Event.RPC,
        owner: str | None = "",
        call_id: str = "",
    ) -> None:
        """Logs that an RPC was refused; `path` is empty if the RPC is not served.

        `principal` is by default the context's, `call_id` that of the metadata. `owner` is as in
        `allowed`, empty where it is not known.
        """
        peer = context.peer()
        if self._write is None or not self._limit.admits(caller_of(peer)):
            return
        metadata = tuple(context.invocation_metadata() or ())
        self._put(
            Entry(
                event=event,
                decision=Decision.DENY,
                permission=permission,
                principal=context.principal if principal is None else principal,
                peer=peer,
                method=path.removeprefix("/"),
                owner=ALL_TENANTS if owner is None else owner,
                call_id=call_id or _call_id(metadata),
                trace_id=_trace_id(metadata),
                reason=error.reason,
                message=error.message,
            )
        )

    def allowed(
        self,
        context: Context,
        event: Event,
        *,
        method: str,
        permission: str,
        owner: str | None,
        call_id: str = "",
    ) -> None:
        """Logs that a caller is about to do this; `owner` is the call's, None: all tenants' calls.

        Raises BackendUnavailable if it must be in the log, and can't be written.
        """
        if self._write is None:
            return
        written = self._put(
            Entry(
                event=event,
                decision=Decision.ALLOW,
                permission=permission,
                principal=context.principal,
                peer=context.peer(),
                method=method,
                owner=ALL_TENANTS if owner is None else owner,
                call_id=call_id,
                trace_id=_trace_id(context.invocation_metadata() or ()),
            )
        )
        if not written and self._is_required:
            raise BackendUnavailable(
                "the gateway can't write its audit log, and does nothing of this kind without it",
                retry_after_s=_RETRY_AFTER_S,
            )

    def keys_changed(self, what: str, change: str, *, is_good: bool = True) -> None:
        """Logs that keys or certificates in force have changed, or that new ones were refused."""
        decision = Decision.ALLOW if is_good else Decision.DENY
        self._put(Entry(event=Event.KEYS, decision=decision, method=what, message=change))

    def end_window(self) -> None:
        """Writes how many denials got no entry, and allows entries for new ones."""
        for peer, count in self._limit.next_window().items():
            self._put(Entry(event=Event.OMITTED, decision=Decision.DENY, peer=peer, count=count))

    async def run(self) -> None:
        """Ends each window, until cancelled."""

        async def end() -> None:
            self.end_window()

        await run_periodically(WINDOW_S, end, _log, "counting denials")

    def figures(self) -> Figures:
        """Whether the last entry could not be written."""
        return {"forebay_identity_problems": {("audit",): int(self.is_broken)}}

    def _put(self, entry: Entry) -> bool:
        """Whether it was written."""
        if self._write is None:
            return True
        try:
            self._write(entry.line(time.time()))
        except (OSError, ValueError) as error:  # a closed stream raises ValueError
            self.is_broken = True
            self._outage.failed(error)
            return False
        self.is_broken = False
        self._outage.succeeded()
        return True


NO_AUDIT = AuditLog(None)
"""The log of a gateway without authentication and without an `audit_file`: writes nothing."""


@contextmanager
def open_audit(settings: Settings) -> Iterator[AuditLog]:
    """The audit log that the settings describe; closed at the end of the block.

    Raises SettingsError if the file can't be written.
    """
    if not settings.auth.is_on and settings.audit_file is None and not settings.audit_required:
        yield NO_AUDIT
        return
    handler = _handler(settings)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _audit.addHandler(handler)
    _audit.setLevel(logging.INFO)
    was_propagated, _audit.propagate = _audit.propagate, False
    log = AuditLog(_audit.info, is_required=settings.audit_required)
    try:
        yield log
    finally:
        log.end_window()
        _audit.propagate = was_propagated
        _audit.removeHandler(handler)
        handler.close()


def _handler(settings: Settings) -> logging.Handler:
    if settings.audit_file is None:
        return AuditStream(sys.stderr)
    try:
        return AuditFile(settings.audit_file)
    except OSError as error:
        raise SettingsError(
            f"audit_file, {settings.audit_file}: {error.strerror}; the gateway must be able to "
            "append to it"
        ) from error


def _call_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    given = next((value for key, value in metadata if key == CALL_ID), "")
    return given if isinstance(given, str) and is_call_id(given) else ""


def _trace_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    parts = trace_parts(traceparent_of(metadata))
    return parts[0] if parts else ""
