"""One queue, which limits how many of its calls are in the broker. Pure.

A broker's queue is first in, first out: a tenant waits for all that others put there before. So
calls wait here, by tenant. The gateway sends the next call while the calls that are sent and have
not ended are fewer than twice the live workers' slots: one runs in each slot, and one follows it.

A gateway does not learn when most calls begin. It presumes that the calls which were sent first
are running, one for each slot; the others still wait for a worker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from forebay_gateway.fair_queues.round_robin import MAX_COST, ROUNDING, RoundRobin

WINDOW = 2
"""How many calls are sent and have not ended, for each slot."""


class _Stage(Enum):
    NEW = auto()
    HELD = auto()
    SENT = auto()
    RUNNING = auto()
    GONE = auto()


# Names of the module, because an attribute of an Enum takes 0.1 µs, and a call needs a dozen.
_NEW, _HELD, _SENT, _RUNNING, _GONE = _Stage


class Account(Protocol):
    """Counts the calls of a tenant that wait for a worker."""

    def wait_ends(self) -> None:
        """Called once: when the call is presumed to run, or when it leaves before that."""


class QueueEntry(ABC):
    """A call in a fair queue; each kind of call extends it. It is equal only to itself."""

    queue: str
    tenant: str
    priority: int
    account: Account | None = None
    """Has counted the call; None if no quota counts it."""
    _stage = _NEW
    _paid = 0.0

    @abstractmethod
    def send(self) -> None:
        """Sends the call, which was held, to the broker."""

    def cost(self) -> float:
        """The part of a message that the call takes, at most `MAX_COST`."""
        return MAX_COST

    @property
    def is_held(self) -> bool:
        """Whether the call is not in the broker yet."""
        return self._stage is _HELD

    @property
    def is_gone(self) -> bool:
        """Whether the call has left."""
        return self._stage is _GONE


class FairQueue:
    """The calls of one queue at this gateway, until they end; `weight` gets a tenant's name."""

    def __init__(self, weight: Callable[[str], int]) -> None:
        self.held: RoundRobin[QueueEntry] = RoundRobin(weight)
        """The calls that wait here."""
        self._sent: OrderedDict[QueueEntry, None] = OrderedDict()
        """The calls in the broker that still wait for a worker, in the order in which they came."""
        self._in_broker = 0.0
        self._running = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether no call is here, nor in the broker."""
        return not self.held.count and self._in_broker < ROUNDING

    def enter(self, entry: QueueEntry, slots: int) -> bool:
        """Adds a call. Returns whether the caller must send it now; if not, `next` returns it."""
        if self.held.count or not self._has_room(slots):
            entry._stage = _HELD
            self.held.add(entry)
            return False
        self._advance(slots, entry)
        return True

    def leave(self, entry: QueueEntry) -> bool:
        """Removes a call that has ended, or that its caller gave up. A repeat has no effect.

        Returns whether others wait for `next`: here, or to be presumed running.
        """
        stage, entry._stage = entry._stage, _GONE
        if stage is _RUNNING:
            self._in_broker -= entry._paid
            self._running -= entry._paid
        elif stage is not _GONE:
            if stage is _SENT:
                self._in_broker -= entry._paid
                del self._sent[entry]
            elif stage is _HELD:
                self.held.remove(entry)
            if entry.account is not None:
                entry.account.wait_ends()
        return bool(self.held.count or self._sent)

    def next(self, slots: int) -> QueueEntry | None:
        """Returns the next call to send, or None. The caller must call the entry's `send`."""
        entry = self.held.next() if self.held.count and self._has_room(slots) else None
        self._advance(slots, entry)
        return entry

    def _has_room(self, slots: int) -> bool:
        return self._in_broker < WINDOW * (slots or 1) - ROUNDING

    def _advance(self, slots: int, out: QueueEntry | None) -> None:
        """Counts those that are presumed to run now, and the call that goes out, if one does."""
        while self._sent and self._running < slots - ROUNDING:
            entry, _ = self._sent.popitem(last=False)
            self._presume_running(entry)
        if out is None:
            return
        out._paid = out.cost()
        self._in_broker += out._paid
        if self._running < slots - ROUNDING:
            self._presume_running(out)
        else:
            out._stage = _SENT
            self._sent[out] = None

    def _presume_running(self, entry: QueueEntry) -> None:
        """Counts a call that is presumed to run now."""
        entry._stage = _RUNNING
        self._running += entry._paid
        if entry.account is not None:
            entry.account.wait_ends()
