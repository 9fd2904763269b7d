"""Sharing a limit fairly between those who come, without knowing who will. Pure.

A caller may hold up to `TIMES` what is free after it. So one that is alone gets
`TIMES / (TIMES + 1)` of the limit; n callers who all want more than there is come to hold
the same, `TIMES / (n * TIMES + 1)` each; whoever wants less than that gets all of it;
and a bit is always free for one that holds nothing yet. Nothing is taken from
anyone: a caller that is over its share gets no more until it fits.

This is the dynamic threshold of switches that share a buffer between ports: A. K.
Choudhury, E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet
switches", IEEE/ACM Transactions on Networking 6 (2), 1998. Turned down: a reserve
set apart and `limit / callers` for each in it, as the first newcomer may eat it all.
"""

from __future__ import annotations

TIMES = 8
"""How much a caller may hold for each unit that stays free: alone, eight ninths."""


def fits(held: int, amount: int, free: int) -> bool:
    """Whether one that holds so much may take so much more, of what is free."""
    left = free - amount
    return left >= 0 and (held == 0 or held + amount <= TIMES * left)


class FairShare:
    """A limit, and who holds how much of it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._by_caller: dict[str, int] = {}

    def held_by(self, caller: str) -> int:
        """What the caller holds."""
        return self._by_caller.get(caller, 0)

    def fits(self, caller: str, amount: int) -> bool:
        """Whether the caller may take so much."""
        return fits(self.held_by(caller), amount, self.limit - self.held)

    def add(self, caller: str, amount: int) -> None:
        """Takes, or gives back where negative; asks nobody."""
        self.held += amount
        held = self._by_caller.get(caller, 0) + amount
        if held:
            self._by_caller[caller] = held
        else:
            self._by_caller.pop(caller, None)

    def over(self, caller: str, amount: int) -> float:
        """Which part must be given back before the amount fits: of what the caller holds
        where that is enough, else of all.
        """
        held, free = self.held_by(caller), self.limit - self.held
        if held and amount <= free + held:
            # held' + amount <= TIMES * (free + held - held' - amount), solved for held'.
            fitting = max(0.0, (TIMES * (free + held - amount) - amount) / (TIMES + 1))
            return max(0.0, held - fitting) / held
        return min(1.0, max(0, amount - free) / max(1, self.held))
