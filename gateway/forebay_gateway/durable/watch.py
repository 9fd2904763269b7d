"""One caller's watch on a call: its items, and the events that wake its RPC."""

from __future__ import annotations

import math

from forebay.errors import BackendUnavailable, ForebayError
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.calls import CallSnapshot
from forebay_gateway.durable.item_sequence import ItemSequence
from forebay_gateway.durable.stall import StallLimit


class Watch(AutoResetEvent):
    """The state of one RPC on a durable call; the event is set when that state changes."""

    def __init__(
        self, call: CallKey, items: ItemSequence, stall_limit: StallLimit | None = None
    ) -> None:
        super().__init__()
        self.call = call
        self.items = items
        self.stall_limit = stall_limit or StallLimit(math.inf)
        self.is_registered = False
        """Whether the ledger has the watch, which must then be renewed."""
        self.has_unconfirmed_event = False
        """Whether an event that the ledger must confirm came before the watch was registered."""
        self.confirmed_subscription = 0
        """The channel's subscription during which the ledger last reported the call's state."""
        self.request_window_open = AutoResetEvent()
        """Set when the handler of a live call has read all requests that were sent to it."""
        self._upload_error: ForebayError | None = None
        self._latest: CallSnapshot | Refused | BackendUnavailable | None = None

    def on_renewed(self, result: CallSnapshot | Refused | BackendUnavailable) -> None:
        """Keeps the result of a renewal until `take_snapshot`."""
        self._latest = result
        if isinstance(result, CallSnapshot):
            self.stall_limit.on_snapshot(result)
        self.set()

    def take_snapshot(self) -> CallSnapshot | Refused | None:
        """The result of the latest renewal; None if there is none, or it was taken before.

        Raises BackendUnavailable if the ledger has been unavailable for `RETRY_FOR_S`.
        """
        latest, self._latest = self._latest, None
        if isinstance(latest, BackendUnavailable):
            raise latest
        return latest

    def on_upload_failed(self, error: ForebayError) -> None:
        """Keeps the error that ended the upload of requests, for `raise_if_upload_failed`."""
        self._upload_error = error
        self.set()

    def raise_if_upload_failed(self) -> None:
        """Raises the error that ended the upload of requests."""
        if self._upload_error is not None:
            raise self._upload_error
