"""The processes of one gateway exchange what each of them has counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

Share = Callable[[int], bytes]
"""Gets a number, such as that of a time; returns what this process has from there on."""
Ask = Callable[[str, int], Awaitable[Sequence[bytes]]]
"""Gets the name of a share and a number; returns those of the other processes that answer."""


async def _alone(name: str, first: int) -> Sequence[bytes]:
    return ()


class Siblings:
    """What this process shares, by name, and how to `ask` the others; by default it is alone."""

    def __init__(self, ask: Ask = _alone) -> None:
        self._shares: dict[str, Share] = {}
        self.ask = ask

    @property
    def shares(self) -> Mapping[str, Share]:
        """What the other processes may ask for."""
        return self._shares

    def share(self, name: str, share: Share) -> None:
        """Adds something to ask for; the name is part of a path."""
        self._shares[name] = share
