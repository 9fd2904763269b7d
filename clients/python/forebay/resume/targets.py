"""The addresses that a client calls, and whose turn it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

REST_S = 5.0
"""How long a target that failed is passed over, where another is not resting."""

# One URI of gRPC's holds a list of addresses of its own.
_LISTS = ("ipv4:", "ipv6:")


def read_targets(targets: str | Sequence[str]) -> tuple[str, ...]:
    """The targets of "HOST:PORT,HOST:PORT", or of a sequence; each is one that gRPC takes.

    Raises ValueError where there is none, or an empty one.
    """
    if isinstance(targets, str):
        targets = [targets] if targets.startswith(_LISTS) else targets.split(",")
    read = tuple(target.strip() for target in targets)
    if not all(read) or not read:
        raise ValueError(f"targets {targets!r}: expected HOST:PORT, or several with commas between")
    return read


class Rotation:
    """Takes the targets in turn, those that failed lately last. May be shared by threads."""

    def __init__(self, targets: int, clock: Callable[[], float], first: int = 0) -> None:
        self._clock = clock
        self._turns = count(first)
        self._rest_until = [float("-inf")] * targets

    def __len__(self) -> int:
        return len(self._rest_until)

    def next(self, avoid: int | None = None) -> int:
        """The target of the next attempt; not the one to avoid, if there is another."""
        size, turn, now = len(self), next(self._turns), self._clock()
        turns = [(turn + step) % size for step in range(size)]
        others = [target for target in turns if target != avoid] or turns
        return min(others, key=lambda target: max(self._rest_until[target], now))

    def failed(self, target: int) -> None:
        """The target does not answer, or sends its callers elsewhere."""
        self._rest_until[target] = self._clock() + REST_S

    def answered(self, target: int) -> None:
        """The target is well."""
        self._rest_until[target] = float("-inf")
