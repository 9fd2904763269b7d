"""Weighted deficit round robin over tenants. Pure.

Each tenant has a line of its own. The tenants take turns; at its turn a tenant gets a credit of its
weight, and takes what is first in its line until the credit is used up. A call that needs a message
of its own costs 1; one of a batch of 16 costs a sixteenth. A tenant whose line is empty leaves the
round, and loses its credit: nobody saves up.

Example: tenant A, of weight 2, and tenant B, of weight 1, both flood the queue. Then the calls are
taken in the order A A B A A B. A third tenant that has one call waits for at most one round.

Source: M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round Robin", IEEE/ACM
Transactions on Networking 4 (3), 1996. Turned down: virtual finish times, which need a sorted set
and are not fairer where all costs are at most 1.

Priorities order the calls of one tenant. They mean nothing between tenants: else a tenant would get
more by asking for more.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

MAX_COST = 1.0
ROUNDING = 1e-9
"""Tolerates rounding errors in sums of costs."""


class Waiting(Protocol):
    """A call in a tenant's line. It must be hashable, and equal only to itself."""

    @property
    def tenant(self) -> str:
        """Whose line it waits in."""

    @property
    def priority(self) -> int:
        """Higher ones are first."""

    def cost(self) -> float:
        """What it costs now, at most `MAX_COST`."""


W = TypeVar("W", bound=Waiting)


class _Line(Generic[W]):
    """What waits for one tenant, by priority; within one, in order of arrival."""

    __slots__ = ("_by_priority", "count", "credit", "has_credit_of_turn")

    def __init__(self) -> None:
        self._by_priority: dict[int, OrderedDict[W, None]] = {}
        self.count = 0
        self.credit = 0.0
        self.has_credit_of_turn = False

    def add(self, one: W) -> None:
        self._by_priority.setdefault(one.priority, OrderedDict())[one] = None
        self.count += 1

    def remove(self, one: W) -> bool:
        same = self._by_priority.get(one.priority)
        if same is None or one not in same:
            return False
        del same[one]
        if not same:
            del self._by_priority[one.priority]
        self.count -= 1
        return True

    def first(self) -> W:
        return next(iter(self._by_priority[max(self._by_priority)]))


class RoundRobin(Generic[W]):
    """The lines of all tenants; `weight` is that of a tenant, 1 or more."""

    def __init__(self, weight: Callable[[str], int]) -> None:
        self._weight = weight
        self._lines: dict[str, _Line[W]] = {}
        self._turns: deque[str] = deque()
        self.count = 0
        """How many calls wait."""

    def waiting(self, tenant: str) -> int:
        """How many calls of the tenant wait."""
        line = self._lines.get(tenant)
        return 0 if line is None else line.count

    def part(self, tenant: str) -> float:
        """The share of all taken calls that a tenant gets while it has calls in its line."""
        weights = {name: self._weight(name) for name in (*self._lines, tenant)}
        return weights[tenant] / sum(weights.values())

    def add(self, one: W) -> None:
        """Adds a call at the end of its tenant's line."""
        line = self._lines.get(one.tenant)
        if line is None:
            line = self._lines[one.tenant] = _Line()
            self._turns.append(one.tenant)
        line.add(one)
        self.count += 1

    def remove(self, one: W) -> bool:
        """Removes a call that waits; False if it does not."""
        line = self._lines.get(one.tenant)
        if line is None or not line.remove(one):
            return False
        self.count -= 1
        if not line.count:
            del self._lines[one.tenant]
            self._turns.remove(one.tenant)
        return True

    def next(self) -> W | None:
        """Takes the call whose turn it is; None if none waits."""
        while self._turns:
            tenant = self._turns[0]
            line = self._lines[tenant]
            if not line.has_credit_of_turn:
                line.credit += self._weight(tenant)
                line.has_credit_of_turn = True
            one = line.first()
            cost = one.cost()
            if cost <= line.credit + ROUNDING:
                line.credit -= cost
                self.remove(one)
                return one
            line.has_credit_of_turn = False
            self._turns.rotate(-1)
        return None
