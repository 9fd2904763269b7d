"""Seals (signatures) on the bytes of calls in the ledger, and what each seal is bound to.

The ledger's scripts have no keys: they store and publish sealed bytes without looking into them.
Gateways seal requests and their metadata, workers seal items and outcomes, and both seal the
frames that they publish themselves. A seal is bound to the call and, for an item, to the ordinal,
so bytes of one call can't be moved to another. A successful outcome is bound to the number of
items, and the end of a request stream to the number of requests, so that neither can be cut short.

Scripts write some values themselves, and those have no seal: for example the end of a call whose
deadline passed.
"""

from __future__ import annotations

from dataclasses import replace

from forebay.errors import ItemsLost
from forebay_backends.ledger.frames import (
    CallEvent,
    Ending,
    Initial,
    Item,
    ItemsStored,
    TransientItem,
)
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import Begun
from forebay_backends.ledger.operations.calls import CallSnapshot, NewCall
from forebay_backends.ledger.operations.inspection import Description, ObservedCall
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.signing.keyring import NO_KEYS, Keyring, SignatureError, is_sealed

_ALTERED = "the {} of this call in the ledger has no valid signature"


class Seals:
    """Seals and opens with the keys of this process; does nothing if there are none."""

    def __init__(self, keyring: Keyring = NO_KEYS) -> None:
        self.keyring = keyring

    # Gateways to workers.

    def new_call(self, call: CallKey, new: NewCall) -> NewCall:
        """The record with request, metadata and caller sealed, even if they are empty."""
        if not self.keyring.is_on:
            return new
        seal = self.keyring.seal
        return replace(
            new,
            request=seal(new.request, "request", call, new.method),
            metadata=seal(new.metadata, "metadata", call, new.method),
            caller=seal(new.caller, "caller", call, new.method),
            on_end=self.seal_on_end(call, new.method, new.on_end) if new.on_end else b"",
        )

    def seal_on_end(self, call: CallKey, method: str, on_end: bytes) -> bytes:
        """Seals the task that is notified of the call's end."""
        return self.keyring.seal(on_end, "task of the end", call, method)

    def on_end(self, call: CallKey, method: str, sealed: bytes) -> bytes:
        """Opens the task that is notified of the call's end; raises SignatureError."""
        return self.keyring.open(sealed, "task of the end", call, method)

    def begun(self, call: CallKey, begun: Begun) -> Begun:
        """Opens the part of the record that a worker gets; raises ItemsLost if it was altered.

        The number of requests of a live call is checked when they have ended.
        """

        def opened(sealed: bytes, kind: str) -> bytes:
            return self._open("request", sealed, kind, call, begun.method)

        if begun.inputs is not None and not begun.live:
            self.check_requests_end(call, begun.inputs, begun.requests_end)
        return replace(
            begun,
            request=opened(begun.request, "request") if begun.inputs is None else begun.request,
            metadata=opened(begun.metadata, "metadata"),
            caller=opened(begun.caller, "caller"),
        )

    def input(self, call: CallKey, ordinal: int, request: bytes) -> bytes:
        """Seals a request of a stream."""
        return self.keyring.seal(request, "input", call, ordinal)

    def open_input(self, call: CallKey, ordinal: int, sealed: bytes) -> bytes:
        """Raises ItemsLost if it was altered."""
        return self._open(f"request {ordinal}", sealed, "input", call, ordinal)

    def requests_end(self, call: CallKey, count: int) -> bytes:
        """The proof that a stream has so many requests; empty without keys."""
        return self.keyring.seal(b"", "end of requests", call, count)

    def check_requests_end(self, call: CallKey, count: int, proof: bytes) -> None:
        """Raises ItemsLost if the stream was cut short."""
        self._open("number of requests", proof, "end of requests", call, count)

    # Gateways to gateways.

    def cache_entry(self, call: CallKey, cache: str) -> bytes:
        """The proof that identical calls may join the call; empty without keys."""
        return self.keyring.seal(b"", "cache entry", call, cache)

    def check_cache_entry(self, call: CallKey, cache: str, proof: bytes) -> None:
        """Raises SignatureError if the entry of the cache key was altered."""
        self.keyring.open(proof, "cache entry", call, cache)

    # Workers to gateways.

    def item(self, call: CallKey, ordinal: int, item: bytes) -> bytes:
        """Seals a stored item; a unary method's response is item 0."""
        return self.keyring.seal(item, "item", call, ordinal)

    def open_item(self, call: CallKey, ordinal: int, sealed: bytes) -> bytes:
        """Raises ItemsLost if it was altered."""
        return self._open(f"item {ordinal}", sealed, "item", call, ordinal)

    def transient(self, call: CallKey, item: bytes) -> bytes:
        return self.keyring.seal(item, "transient item", call)

    def initial(self, call: CallKey, metadata: bytes) -> bytes:
        return self.keyring.seal(metadata, "initial metadata", call)

    def outcome(self, call: CallKey, state: State, count: int, outcome: bytes) -> bytes:
        """Seals the outcome of a call that ends in `state` with `count` items."""
        return self.keyring.seal(outcome, "outcome", call, *_end(state, count))

    def event(self, call: CallKey, event: CallEvent) -> CallEvent:
        """Opens an event of the gateway's channel; raises SignatureError."""
        open_ = self.keyring.open
        match event:
            case Item(ordinal, sealed):
                return Item(ordinal, open_(sealed, "item", call, ordinal))
            case TransientItem(sealed):
                return TransientItem(open_(sealed, "transient item", call))
            case Initial(sealed):
                return Initial(open_(sealed, "initial metadata", call))
            case Ending():
                return self._ending(call, event)
        return event

    def is_certain(self, event: CallEvent) -> bool:
        """Whether the event was sealed, or its forgery would do no harm.

        Scripts, which have no keys, publish the item count and the end of a call that no handler
        ended. Anyone who may publish could forge such a frame, so the ledger must confirm it.
        """
        if not self.keyring.is_required:
            return True
        return not (
            isinstance(event, ItemsStored) or (isinstance(event, Ending) and not event.outcome)
        )

    def snapshot(self, call: CallKey, snapshot: CallSnapshot) -> CallSnapshot:
        """Opens the ledger's report of a call."""
        ending = None if snapshot.ending is None else self.ending(call, snapshot.ending)
        initial = self._or_none(snapshot.initial, "initial metadata", call)
        transient = self._or_none(snapshot.transient, "transient item", call)
        return replace(snapshot, ending=ending, initial=initial, transient=transient)

    def ending(self, call: CallKey, ending: Ending) -> Ending:
        """Opens the call's ending; an altered one becomes a failure with ITEMS_LOST."""
        try:
            return self._ending(call, ending)
        except SignatureError as error:
            outcome = outcome_of_error(self._lost(error, "outcome")).SerializeToString()
            return replace(ending, state=State.FAILED, reason="", outcome=outcome, response=None)

    def check_observed(self, call: CallKey, observed: ObservedCall) -> None:
        """Raises ItemsLost if the items of a call that succeeded were cut short."""
        if observed.state is State.SUCCEEDED:
            end = _end(observed.state, observed.count)
            self._open("outcome", observed.outcome, "outcome", call, *end)

    def description(self, call: CallKey, described: Description) -> Description:
        """Opens the description of a call; raises ItemsLost if its last item was altered."""
        ending = described.ending
        if ending is not None:
            opened = self.ending(call, ending)
            described = replace(described, state=opened.state, outcome=opened.outcome)
        if described.last_item is not None:
            at = max(described.count - 1, 0)
            described = replace(described, last_item=self.open_item(call, at, described.last_item))
        if described.progress is not None:
            progress = self._or_none(described.progress, "transient item", call)
            described = replace(described, progress=progress or None)
        if described.operation_metadata:
            latest = self._or_none(described.operation_metadata, "transient item", call)
            described = replace(described, operation_metadata=latest)
        names = call, described.method
        return replace(
            described,
            metadata=self._or_none(described.metadata, "metadata", *names),
            caller=self._or_none(described.caller, "caller", *names),
        )

    # Frames that gateways and workers publish themselves.

    def frame(self, frame: bytes) -> bytes:
        return self.keyring.seal(frame, "frame")

    def open_frame(self, frame: bytes) -> tuple[bytes, bool]:
        """The frame, and whether it counts as signed; raises SignatureError for a bad seal.

        Scripts publish frames without seals; the caller decides which kinds of frame need one.
        """
        if not is_sealed(frame):
            return frame, not self.keyring.is_required
        return self.keyring.open(frame, "frame"), True

    def _ending(self, call: CallKey, ending: Ending) -> Ending:
        if not ending.outcome and ending.state is not State.SUCCEEDED:
            return ending  # a script ended the call
        end = _end(ending.state, ending.count)
        response = ending.response
        if response is not None:
            response = self.keyring.open(response, "item", call, 0)
        outcome = self.keyring.open(ending.outcome, "outcome", call, *end)
        return replace(ending, outcome=outcome, response=response)

    def _open(self, what: str, sealed: bytes, kind: str, *names: object) -> bytes:
        """Opens a seal; raises ItemsLost, which names `what` was altered."""
        try:
            return self.keyring.open(sealed, kind, *names)
        except SignatureError as error:
            raise self._lost(error, what) from error

    def _or_none(self, sealed: bytes, kind: str, *names: object) -> bytes:
        """Opens a seal; returns empty bytes if the content was altered or is empty."""
        try:
            return self.keyring.open(sealed, kind, *names) if sealed else b""
        except SignatureError as error:
            self.keyring.refused(error)
            return b""

    def _lost(self, error: SignatureError, what: str) -> ItemsLost:
        self.keyring.refused(error)
        return ItemsLost(_ALTERED.format(what))


def _end(state: State, count: int) -> tuple[State, int | str]:
    # A failing attempt may have stored fewer items than an earlier attempt.
    return state, count if state is State.SUCCEEDED else "-"


NO_SEALS = Seals()
"""Seals nothing."""
