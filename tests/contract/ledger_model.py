"""A model of the ledger's scripts for one call: the life cycle's table, in plain Python.

The model has no clock. A time in the record has passed or not: the test moves it into the
past on the server, and reports that to the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from forebay_backends.ledger.lifecycle import Event, State, next_state
from forebay_backends.ledger.operations.base import Refusal

SUBSCRIBED = "subscribed"
"""The only channel with a subscriber."""


class Time(Enum):
    """A time in the record, by its field."""

    DEADLINE = "deadline"
    QUEUE_WAIT = "queue_wait_until"
    CLAIM = "lease_until"
    ABANDONED = "abandoned_at"
    IDLE = "idle_until"
    START = "start_at"


@dataclass(frozen=True)
class Terms:
    """The options that a call was accepted with."""

    receiving: bool
    live: bool
    delayed: bool
    window: int
    may_run_again: bool
    deterministic: bool
    attempts_limit: int
    deadline: bool
    run_limit: bool
    detach: bool
    lingers: bool


@dataclass
class Model:
    """One call. Its operations return None if they succeed, or the reason of the refusal."""

    terms: Terms
    watchers: set[str]
    attempt: int = 1
    items: list[bytes] = field(default_factory=list)
    trimmed: int = 0
    inputs: list[bytes] = field(default_factory=list)
    taken: int = 0
    let_go: int = 0
    full: bool = False
    waits_for_request: bool = False
    worker: str | None = None
    controlled: bool = False
    read_count: int = 0
    reason: str = ""
    lapsed: set[str] = field(default_factory=set)
    """Watchers whose lease is over."""
    come: set[Time] = field(default_factory=set)
    """Times that are past."""
    left: str | None = None
    """When the last watcher left: "now", or "soon" if the watchers can't be reached."""
    published: list[tuple[object, ...]] = field(default_factory=list)
    control_events: list[tuple[object, ...]] = field(default_factory=list)
    """The control frames that the handler's process received."""

    def __post_init__(self) -> None:
        self.state = State.RECEIVING if self.terms.receiving else State.QUEUED
        if self.terms.delayed:
            self.state = State.DELAYED
        self.deadline = self.overall = self.terms.deadline
        self.receiving = self.terms.receiving or self.terms.live

    @property
    def live(self) -> set[str]:
        """Watchers whose lease has not expired."""
        return self.watchers - self.lapsed

    @property
    def waits(self) -> bool:
        """Whether no worker has the call's message."""
        return self.state is State.QUEUED and self.worker is None

    @property
    def has(self) -> set[Time]:
        """The times that are set, and that may pass."""
        times = {Time.DEADLINE} if self.deadline else set()
        times |= {Time.QUEUE_WAIT} if self.state is State.QUEUED else set()
        times |= {Time.START} if self.state is State.DELAYED else set()
        times |= {Time.CLAIM} if self.worker else set()
        times |= {Time.ABANDONED} if self.left else set()
        times |= {Time.IDLE} if self.waits_for_request else set()
        return set() if self.state.terminal else times

    def receive(self, ordinal: int, request: bytes) -> State | Refusal | None:
        if (why := self._refusal(Event.RECEIVE)) is not None:
            return why
        if not self.receiving:
            return self.state
        if ordinal > len(self.inputs):
            return Refusal.GAP
        if ordinal < len(self.inputs):
            return None
        unread = self.inputs[self.taken :]
        if self.terms.live and any(unread) and _size([*unread, request]) > self.terms.window:
            self.full = True
            return Refusal.FULL
        self.inputs.append(request)
        if self.terms.live and self.taken == ordinal:
            self._tell_of_requests()
        return None

    def complete(self) -> State | Refusal | None:
        why = self._refusal(Event.COMPLETE)
        if why is None and self.receiving:
            self.receiving = False
            if self.terms.live:
                self._tell_of_requests()
            else:
                self._go(Event.COMPLETE)
        return why

    def start(self) -> State | Refusal | None:
        why = self._refusal(Event.START)
        if why is None and Time.START not in self.come:
            return self.state
        if why is None:
            self._go(Event.START)
        return why

    def take_requests(self, attempt: int, first: int) -> State | Refusal | None:
        why = self._refusal(Event.EMIT, attempt) or self._overdue()
        if why is not None:
            return why
        if first > len(self.inputs) or (first < self.let_go and first < len(self.inputs)):
            return Refusal.GAP
        self.taken = first
        self.waits_for_request |= first == len(self.inputs) and self.receiving
        if _size(self.inputs[self.let_go : first]) and not self._movable():
            self.let_go = first
        if self.full and 2 * _size(self.inputs[first:]) <= self.terms.window:
            self.full = False
            self._tell_watchers("room")
        return None

    def claim(self, attempt: int, worker: str) -> State | Refusal | None:
        self._review(consumed=True)
        why = self._refusal(Event.CLAIM, attempt) or self._taken(worker)
        if why is None:
            self._hold(worker)
        return why

    def begin(self, attempt: int, worker: str) -> State | Refusal | None:
        self._review(consumed=True)
        why = self._refusal(Event.BEGIN, attempt) or self._taken(worker)
        if why is None:
            self._go(Event.BEGIN)
            self._hold(worker)
            self.controlled = True
            self.overall = self.deadline
            self.deadline = self.deadline or self.terms.run_limit
        return why

    def renew(self, attempt: int, worker: str) -> State | Refusal | None:
        if (why := self._refusal(Event.LAPSE, attempt)) is not None:
            return why
        if worker != self.worker and (self.worker or next_state(self.state, Event.CLAIM) is None):
            return Refusal.TAKEN
        self._hold(worker)
        return None

    def release(self, attempt: int, worker: str) -> State | Refusal | None:
        if (why := self._refusal(Event.LAPSE, attempt)) is not None:
            return why
        if self.worker not in (None, worker):
            return Refusal.TAKEN
        self._lapse()
        return None

    def emit(self, attempt: int, ordinal: int, item: bytes) -> State | Refusal | None:
        why = self._refusal(Event.EMIT, attempt) or self._overdue()
        if why is not None:
            return why
        if ordinal > len(self.items):
            return Refusal.GAP
        if ordinal == len(self.items):
            self.items.append(item)
            self._tell_watchers("item", ordinal)
        return None

    def emit_transient(self, attempt: int) -> State | Refusal | None:
        why = self._refusal(Event.EMIT, attempt) or self._overdue()
        if why is None:
            self._tell_watchers("transient")
        return why

    def look(self, attempt: int) -> State | Refusal | None:
        self._review()
        return self._refusal(Event.EMIT, attempt)

    def trim(self, attempt: int, count: int) -> State | Refusal | None:
        why = self._refusal(Event.EMIT, attempt)
        if why is None:
            self.trimmed = max(self.trimmed, count)
        return why

    def finish(self, event: Event, attempt: int) -> State | Refusal | None:
        why = self._refusal(event, attempt) or self._overdue()
        if why is None:
            self.controlled = False  # it needs no stop
            self._settle(event, "WHY")
        return why

    def end(self, event: Event, reason: str) -> State | Refusal | None:
        before = self.state
        return None if self._settle(event, reason) else before

    def watch(self, channel: str) -> None:
        self.watchers.add(channel)
        self.lapsed.discard(channel)
        self._come_back()
        self._review()

    def leave(self, channel: str) -> None:
        self.watchers.discard(channel)
        self.lapsed.discard(channel)
        if not self.state.terminal and not self.watchers:
            self._left_alone("now")

    def credit(self, count: int) -> State | Refusal | None:
        if self.state.terminal:
            return self.state
        if count > self.read_count:
            self.read_count = count
            if self.controlled:
                self.control_events.append(("credit", self.attempt, count))
        return None

    def sweep(self, *, consumed: bool) -> None:
        self._review(consumed=consumed, swept=True)

    def _refusal(self, event: Event, attempt: int | None = None) -> State | Refusal | None:
        if next_state(self.state, event) is None:
            return self.state
        return Refusal.STALE if attempt not in (None, self.attempt) else None

    def _taken(self, worker: str) -> State | Refusal | None:
        holds = self.worker not in (None, worker) and Time.CLAIM not in self.come
        return Refusal.TAKEN if holds else None

    def _overdue(self) -> State | Refusal | None:
        if Time.DEADLINE not in self.come:
            return None
        self._settle(Event.EXPIRE, "DEADLINE_EXCEEDED")
        return self.state

    def _go(self, event: Event) -> None:
        state = next_state(self.state, event)
        assert state is not None
        self.state = state

    def _hold(self, worker: str) -> None:
        self.worker = worker
        self.come.discard(Time.CLAIM)

    def _come_back(self) -> None:
        self.left = None
        self.come.discard(Time.ABANDONED)

    def _review(self, *, consumed: bool | None = None, swept: bool = False) -> None:
        """Does what is due; `consumed`: whether workers consume the queue, None if unknown."""
        if self.state.terminal:
            return
        if swept and not self.left and self.watchers and not self.live:
            self.watchers, self.lapsed, self.left = set(), set(), "now"
        over = Time.ABANDONED in self.come or (self.left == "now" and not self.terms.lingers)
        if Time.DEADLINE in self.come:
            self._settle(Event.EXPIRE, "DEADLINE_EXCEEDED")
        elif Time.IDLE in self.come:
            self._settle(Event.EXPIRE, "CALLER_IDLE")
        elif consumed is not None and self.has & self.come & {Time.QUEUE_WAIT}:
            self._settle(Event.FAIL, "QUEUE_WAIT" if consumed else "NO_WORKERS")
        elif over and not (self.terms.detach and self.state is not State.RECEIVING):
            self._settle(Event.CANCEL, "CANCELLED")
        elif swept and Time.CLAIM in self.come:
            self._lapse()

    def _movable(self) -> bool:
        again = self.terms.may_run_again and self.attempt < self.terms.attempts_limit
        return again and (self.terms.deterministic or not self.items)

    def _lapse(self) -> None:
        if self.state is not State.QUEUED:
            if not self._movable():
                self._settle(Event.FAIL, "WORKER_LOST")
                return
            self._go(Event.LAPSE)
            self.control_events.append(("stop", self.attempt, str(self.state)))
            self.attempt += 1
            self.come.discard(Time.QUEUE_WAIT)
            if self.terms.run_limit or not self.overall:
                self.come.discard(Time.DEADLINE)
            self.deadline = self.overall
        self.worker, self.controlled = None, False
        self.taken, self.waits_for_request = 0, False
        self.come -= {Time.CLAIM, Time.IDLE}

    def _settle(self, event: Event, reason: str) -> bool:
        state = next_state(self.state, event)
        if state is None or not state.terminal:
            return False
        if self.controlled:
            self.control_events.append(("stop", self.attempt, str(state)))
        self.state, self.reason = state, reason
        self.worker, self.controlled = None, False
        self._tell("end", str(state))
        return True

    def _tell_of_requests(self) -> None:
        self.waits_for_request = False
        self.come.discard(Time.IDLE)
        if self.controlled:
            self.control_events.append(("requests", self.attempt, len(self.inputs)))

    def _tell(self, *words: object) -> None:
        if SUBSCRIBED in self.watchers:
            self.published.append(words)
        self.watchers &= {SUBSCRIBED}
        self.lapsed &= self.watchers

    def _tell_watchers(self, *words: object) -> None:
        watched = bool(self.watchers)
        self._tell(*words)
        if watched and not self.watchers:
            self._left_alone("soon")

    def _left_alone(self, since: str) -> None:
        if not self.left or (self.left, since) == ("soon", "now"):
            self.left = since if Time.ABANDONED not in self.come else self.left
        self._review()


def _size(messages: list[bytes]) -> int:
    return sum(map(len, messages))
