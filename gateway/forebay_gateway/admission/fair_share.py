"""Shares a limit fairly between callers that are not known in advance. Pure.

A caller may hold up to `TIMES` times what stays free. Example, for a limit of 90: a single
caller gets 80; two callers that want more than their share get 42 each. In general, a
single caller gets `TIMES / (TIMES + 1)` of the limit, n greedy callers get
`TIMES / (n * TIMES + 1)` each, a caller that wants less gets all that it wants, and some of
the limit is always free for a new caller. Nothing is taken away: a caller over its share gets
no more until it is below.

Source: dynamic thresholds, as in switches whose ports share a buffer. A. K. Choudhury,
E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM
Transactions on Networking 6 (2), 1998. Turned down: a separate reserve with
`limit / callers` for each, since the first newcomer could use all of it.
"""

from __future__ import annotations

TIMES = 8
"""How much a caller may hold for each free unit: a single caller gets eight ninths."""


def fits(held: int, amount: int, free: int) -> bool:
    """Whether a caller that holds `held` may take `amount` of the `free` units."""
    left = free - amount
    return left >= 0 and (held == 0 or held + amount <= TIMES * left)


class FairShare:
    """A limit, and how much of it each caller holds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._by_caller: dict[str, int] = {}

    @property
    def used(self) -> float:
        """The part of the limit that is held, from 0 to 1."""
        return min(1.0, self.held / self.limit)

    def held_by(self, caller: str) -> int:
        return self._by_caller.get(caller, 0)

    def fits(self, caller: str, amount: int) -> bool:
        return fits(self.held_by(caller), amount, self.limit - self.held)

    def take(self, caller: str, amount: int) -> bool:
        """Takes the amount, if it fits."""
        if not fits(self._by_caller.get(caller, 0), amount, self.limit - self.held):
            return False
        self.add(caller, amount)
        return True

    def add(self, caller: str, amount: int) -> None:
        """Takes the amount, or gives it back if negative. Does not check the limit."""
        self.held += amount
        held = self._by_caller.get(caller, 0) + amount
        if held:
            self._by_caller[caller] = held
        else:
            self._by_caller.pop(caller, None)

    def excess(self, caller: str, amount: int) -> float:
        """The part that must be given back until the amount fits, from 0 to 1.

        It is a part of what the caller holds, if returning that suffices; else of what all hold.
        """
        held, free = self.held_by(caller), self.limit - self.held
        if held and amount <= free + held:
            # held' + amount <= TIMES * (free + held - held' - amount), solved for held'.
            fitting = max(0.0, (TIMES * (free + held - amount) - amount) / (TIMES + 1))
            return max(0.0, held - fitting) / held
        return min(1.0, max(0, amount - free) / max(1, self.held))
