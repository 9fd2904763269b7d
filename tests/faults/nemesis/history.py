"""The recorded history of each call. Times are seconds of the monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.nemesis.plans import Plan


@dataclass
class Attach:
    """One RPC under the call's id."""

    at_s: float
    gateway: str
    resume_from: int
    attached: str = ""  # new, running or finished; empty if no initial metadata came
    items: list[bytes] = field(default_factory=list)
    code: str = ""  # empty if the caller ended it
    reason: str = ""
    final: bool = False  # whether it shows how the call ended, not only the RPC
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
    """One caller of a call: its successive RPCs, each continuing after the previous one."""

    attaches: list[Attach] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """The number of items that it has received."""
        return sum(len(attach.items) for attach in self.attaches)

    @property
    def items(self) -> list[bytes]:
        """All items that it has received, in order of arrival."""
        return [item for attach in self.attaches for item in attach.items]

    @property
    def end(self) -> Attach | None:
        """The RPC that showed how the call ended."""
        return next((attach for attach in self.attaches if attach.final), None)


@dataclass
class Record:
    """The record of a call in the ledger."""

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
    """The recorded history of one call."""

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
        """Whether a caller saw the call accepted, or it has a record."""
        return self.record is not None or any(attach.accepted for attach in self.attaches)

    @property
    def endings(self) -> list[Attach]:
        """All RPCs that showed how the call ended."""
        return [viewer.end for viewer in (*self.viewers, *self.checks) if viewer.end is not None]


@dataclass(frozen=True)
class Window:
    """The time in which a member was harmed, until it was ready again."""

    member: str
    harm: str
    start_s: float
    end_s: float
