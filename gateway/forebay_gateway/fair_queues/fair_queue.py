"""One queue, which limits how many of its calls are in the broker. Pure.

A broker's queue is first in, first out: a tenant waits for all that others put there before. So
calls wait here, by tenant. The gateway sends the next call while the calls that are sent and have
not ended are fewer than twice the live workers' slots: one runs in each slot, and one follows it.

A gateway does not learn when most calls begin. It presumes that the calls which were sent first
are running, one for each slot; the others still wait for a worker.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto

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
_IN_BROKER = (_SENT, _RUNNING)
_NOT_BEGUN = (_NEW, _HELD, _SENT)


class QueueEntry:
    """A call in a fair queue. `send` is called when it may go to the broker.

    `cost` returns the part of a message that the call takes. `on_begun` is called once: when the
    call is presumed to run, or when it leaves before that.
    """

    __slots__ = ("_on_begun", "_paid", "_stage", "cost", "priority", "queue", "send", "tenant")

    def __init__(
        self,
        queue: str,
        tenant: str,
        priority: int,
        send: Callable[[], None],
        *,
        cost: Callable[[], float] = lambda: MAX_COST,
        on_begun: Callable[[], None] = lambda: None,
    ) -> None:
        self.queue = queue
        self.tenant = tenant
        self.priority = priority
        self.send = send
        self.cost = cost
        self._on_begun = on_begun
        self._paid = 0.0
        self._stage = _NEW

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
        self._held: RoundRobin[QueueEntry] = RoundRobin(weight)
        self._sent: OrderedDict[QueueEntry, None] = OrderedDict()
        """The calls in the broker that still wait for a worker, in the order in which they came."""
        self._in_broker = 0.0
        self._running = 0.0

    @property
    def held(self) -> int:
        """How many calls wait here."""
        return self._held.count

    @property
    def is_empty(self) -> bool:
        """Whether no call is here, nor in the broker."""
        return not self._held.count and self._in_broker < ROUNDING

    def held_of(self, tenant: str) -> int:
        """How many calls of the tenant wait here."""
        return self._held.waiting(tenant)

    def part(self, tenant: str) -> float:
        """The part of the workers that the tenant gets while others wait, too."""
        return self._held.part(tenant)

    def enter(self, entry: QueueEntry, slots: int) -> bool:
        """Adds a call. Returns whether the caller must send it now; else `next` returns it later."""
        if self._held.count or not self._has_room(slots):
            entry._stage = _HELD
            self._held.add(entry)
            return False
        self._let_out(entry)
        self._presume_running(slots)
        return True

    def leave(self, entry: QueueEntry) -> bool:
        """Removes a call that has ended, or that its caller gave up. A repeat has no effect.

        Returns whether others wait for `next`: here, or to be presumed running.
        """
        stage, entry._stage = entry._stage, _GONE
        if stage is _HELD:
            self._held.remove(entry)
        elif stage in _IN_BROKER:
            self._in_broker -= entry._paid
            if stage is _RUNNING:
                self._running -= entry._paid
            else:
                del self._sent[entry]
        if stage in _NOT_BEGUN:
            entry._on_begun()
        return bool(self._held.count or self._sent)

    def next(self, slots: int) -> QueueEntry | None:
        """Returns the next call to send, or None. The caller must call the entry's `send`."""
        entry = self._held.next() if self._held.count and self._has_room(slots) else None
        if entry is not None:
            self._let_out(entry)
        self._presume_running(slots)
        return entry

    def _has_room(self, slots: int) -> bool:
        return self._in_broker < WINDOW * (slots or 1) - ROUNDING

    def _let_out(self, entry: QueueEntry) -> None:
        entry._stage = _SENT
        entry._paid = entry.cost()
        self._in_broker += entry._paid
        self._sent[entry] = None

    def _presume_running(self, slots: int) -> None:
        while self._sent and self._running < slots - ROUNDING:
            entry, _ = self._sent.popitem(last=False)
            entry._stage = _RUNNING
            self._running += entry._paid
            entry._on_begun()
