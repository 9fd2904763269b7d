"""What was seen of each call. Times are of the monotonic clock, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.nemesis.plans import Plan


@dataclass
class Attach:
    """One RPC under the call's id."""

    at_s: float
    gateway: str
    resume_from: int
    attached: str = ""  # new, running or finished; empty where no initial metadata came
    items: list[bytes] = field(default_factory=list)
    code: str = ""  # empty where the caller ended it
    reason: str = ""
    final: bool = False  # whether it told how the call ended, not only how the RPC did
    ended_s: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether it shows that the call was accepted."""
        return bool(self.attached or self.items or self.final)

    @property
    def ending(self) -> tuple[str, str]:
        """Status and reason."""
        return self.code, self.reason


@dataclass
class Viewer:
    """One caller of a call: its RPCs one after the other, each going on where the last ended."""

    attaches: list[Attach] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many items it has."""
        return sum(len(attach.items) for attach in self.attaches)

    @property
    def items(self) -> list[bytes]:
        """All items that it has, in the order in which they came."""
        return [item for attach in self.attaches for item in attach.items]

    @property
    def end(self) -> Attach | None:
        """The RPC that told how the call ended."""
        return next((attach for attach in self.attaches if attach.final), None)


@dataclass
class Record:
    """What the ledger says of a call that has a record."""

    state: str
    reason: str
    count: int
    attempts: int
    was_begun: bool
    created_s: float
    deadline_s: float | None
    finished_s: float | None


@dataclass
class Call:
    """Everything that is known of one call."""

    plan: Plan
    viewers: list[Viewer] = field(default_factory=list)
    cancel_asked_s: float | None = None
    cancelled_s: float | None = None  # when the ledger had taken it
    record: Record | None = None
    checks: list[Viewer] = field(default_factory=list)
    """Callers that attached when everything was over, from the first item on."""

    @property
    def attaches(self) -> list[Attach]:
        """All RPCs of all callers."""
        return [attach for viewer in self.viewers for attach in viewer.attaches]

    @property
    def accepted(self) -> bool:
        """Whether anyone was told that the call was accepted, or it is on record."""
        return self.record is not None or any(attach.accepted for attach in self.attaches)

    @property
    def endings(self) -> list[Attach]:
        """All that told how the call ended."""
        return [viewer.end for viewer in (*self.viewers, *self.checks) if viewer.end is not None]


@dataclass(frozen=True)
class Window:
    """When a member was harmed: no longer than until it was well again."""

    member: str
    harm: str
    start_s: float
    end_s: float
