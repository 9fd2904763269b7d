"""The addresses of the gateways, and the choice of one for the next attempt. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

COOLDOWN_S = 5.0
"""A target that failed is avoided for this long, unless all others have failed too."""

# A URI of these schemes contains a list of addresses of its own.
_ADDRESS_LISTS = ("ipv4:", "ipv6:")


def read_targets(targets: str | Sequence[str]) -> tuple[str, ...]:
    """The targets of "HOST:PORT,HOST:PORT" or of a sequence, each in gRPC's own syntax.

    Raises ValueError if there is none, or if one is empty.
    """
    if isinstance(targets, str):
        targets = [targets] if targets.startswith(_ADDRESS_LISTS) else targets.split(",")
    read = tuple(target.strip() for target in targets)
    if not all(read) or not read:
        raise ValueError(f"targets {targets!r}: expected HOST:PORT, or several separated by commas")
    return read


class Rotation:
    """Round robin over targets; those in their cooldown come last. Threads may share it."""

    def __init__(self, targets: int, clock: Callable[[], float], first: int = 0) -> None:
        self._clock = clock
        self._turns = count(first)
        self._cooldown_until = [float("-inf")] * targets

    def __len__(self) -> int:
        return len(self._cooldown_until)

    def next(self, avoid: int | None = None) -> int:
        """The index of the next attempt's target; not `avoid` if there is another."""
        size, turn, now = len(self), next(self._turns), self._clock()
        turns = [(turn + step) % size for step in range(size)]
        others = [target for target in turns if target != avoid] or turns
        return min(others, key=lambda target: max(self._cooldown_until[target], now))

    def failed(self, target: int) -> None:
        self._cooldown_until[target] = self._clock() + COOLDOWN_S

    def answered(self, target: int) -> None:
        self._cooldown_until[target] = float("-inf")
