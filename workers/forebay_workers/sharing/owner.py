"""Work that other workers do parts of: what a handler uses, and the owner's side of it.

A handler whose work falls into parts goes through them with `in_parts`, and says with
`helped_by` how another worker that has the same requests computes one:

    def squares(request, context):
        return lambda part: [(part * part).to_bytes(8)]

    @helped_by(squares)
    def handler(request, context):
        for pieces in in_parts(context, request.count, 8, squares(request, context)):
            yield Response(square=pieces[0])

The worker that runs the call, its *owner*, computes parts in a thread, in order, as if it were
alone. Others are invited, by a message for each free place that there may be on its queue; the
owner waits for none of them, only for a part that one of them has taken, and not for long.
So workers that are all busy with such calls don't wait for each other, and a lost one
costs the part that it had. A part must come out the same, byte for byte, on any worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc

from forebay_backends.ledger.client import BlockingLedger
from forebay_backends.ledger.operations.calls import Operation, Refused
from forebay_backends.ledger.operations.parts import Piece, Taken, collect, share, take
from forebay_backends.ledger.presence import live_slots
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.invoke import Stopped
from forebay_workers.handler.ledger_retry import patiently
from forebay_workers.sharing.pacing import window
from forebay_workers.sharing.part_loop import Compute, compute_parts

_ATTRIBUTE = "__forebay_parts__"
# A frame about a part may be lost, and a claim lapses without one.
_LOOK_EVERY_S = 1.0

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., Any])
Parts = Callable[[Any, grpc.ServicerContext], Compute]
"""Takes what the handler takes, and returns what computes a part by its number."""


@dataclass(frozen=True)
class Sharing:
    """A running attempt's way to other workers."""

    ledger: BlockingLedger
    worker: str
    queue: str
    limit_bytes: int
    invite: Callable[[int], None]


def helped_by(parts: Parts) -> Callable[[H], H]:
    """Declares how other workers compute parts of what the handler goes through `in_parts`."""

    def declare(handler: H) -> H:
        setattr(handler, _ATTRIBUTE, parts)
        return handler

    return declare


def parts_of(handler: object) -> Parts | None:
    """What `helped_by` declared."""
    found: Parts | None = getattr(handler, _ATTRIBUTE, None)
    return found


def in_parts(
    context: grpc.ServicerContext, count: int, part_bytes: int, compute: Compute
) -> Generator[Sequence[Piece], None, None]:
    """All parts in order, each as its pieces, computed here or by other workers.

    `part_bytes` is about how large a part is. Where there is no other worker, or nothing
    can be shared, as in a call that is in memory only, all is computed here, each part when
    it is asked for. Close it where it is left early. Raises Stopped where the call is over.
    """
    if not isinstance(context, CallContext) or context.sharing is None:
        return _alone(count, compute)
    sharing = context.sharing
    slots = patiently(partial(live_slots, sharing.ledger, sharing.queue))
    others = min(slots, count) - 1
    if others < 1:
        return _alone(count, compute)
    owner = _Owner(sharing, context, count, compute)
    owner.share(window(others + 1, part_bytes, sharing.limit_bytes))
    sharing.invite(others)
    return owner.parts()


def _alone(count: int, compute: Compute) -> Generator[Sequence[Piece], None, None]:
    for part in range(count):
        yield compute(part)


class _Owner:
    """Goes through the parts: its own, which stay in memory, and those of others."""

    def __init__(
        self, sharing: Sharing, context: CallContext, count: int, compute: Compute
    ) -> None:
        self._sharing = sharing
        self._context = context
        self._attempt = (context.call, context.attempt)
        self._count = count
        self._compute = compute
        self._changed = context.changed
        self._next = 0
        self._own: dict[int, Sequence[Piece]] = {}
        self._failed: Exception | None = None
        self._over = False

    def share(self, window: int) -> None:
        """Tells the ledger what there is to take; raises Stopped."""
        self._run(share(*self._attempt, self._count, window))

    def parts(self) -> Generator[Sequence[Piece], None, None]:
        """Each part in its turn; raises Stopped, and what `compute` raises."""
        threading.Thread(target=self._compute_own, name="forebay-parts", daemon=True).start()
        try:
            for part in range(self._count):
                yield self._awaited(part)
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _awaited(self, part: int) -> Sequence[Piece]:
        while True:
            heard = self._context.parts_heard
            stored = self._run(collect(*self._attempt, part))
            own = self._from_own(part)
            if own is not None:
                return own
            if stored:
                read = partial(self._sharing.ledger.pieces, self._context.call, part, stored)
                pieces = patiently(read)
                if pieces is None:
                    raise Stopped
                return pieces
            self._wait(part, heard)

    def _from_own(self, part: int) -> Sequence[Piece] | None:
        """The part, where it was computed here; those before it are let go."""
        with self._changed:
            self._next = part
            for done in [number for number in self._own if number < part]:
                del self._own[done]
            self._changed.notify_all()
            return self._own.get(part)

    def _wait(self, part: int, heard: int) -> None:
        def is_news() -> bool:
            told = self._context.parts_heard != heard or self._context.stopped is not None
            return told or part in self._own or self._failed is not None

        with self._changed:
            self._changed.wait_for(is_news, _LOOK_EVERY_S)
            if self._failed is not None:
                raise self._failed
            if self._context.stopped is not None:
                raise Stopped

    def _compute_own(self) -> None:
        try:
            compute_parts(self._take, self._compute, self._keep, self._wait_for_more)
        except Exception as error:  # raised again where the parts are awaited
            with self._changed:
                self._failed = error
                self._changed.notify_all()

    def _take(self, patience_s: float) -> Taken:
        if self._over:
            raise Stopped
        return self._run(take(*self._attempt, self._sharing.worker, patience_s, keep=True))

    def _keep(self, part: int, pieces: Sequence[Piece]) -> None:
        with self._changed:
            if part >= self._next:
                self._own[part] = pieces
                self._changed.notify_all()

    def _wait_for_more(self, more: bool) -> bool:
        with self._changed:
            if not self._over:
                self._changed.wait(_LOOK_EVERY_S)
            return not self._over

    def _run(self, operation: Operation[T | Refused]) -> T:
        reply = patiently(partial(self._sharing.ledger.run, operation))
        if isinstance(reply, Refused):
            self._context.stop(reply.why)
            raise Stopped
        return reply
