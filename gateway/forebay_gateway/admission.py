"""Whether a call may come in. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from forebay.errors import Draining, QueueFull

RETRY_AFTER_S = 1.0


class Admission:
    """Counts the calls in flight on this gateway, and holds them to a limit."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._draining = False
        self.in_flight = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Holds a place for a call; raises QueueFull, or Draining."""
        if self._draining:
            raise Draining("the gateway is shutting down", retry_after_s=RETRY_AFTER_S)
        if self.in_flight >= self._max_calls:
            raise QueueFull(
                f"the gateway holds {self.in_flight} calls, as many as it may",
                retry_after_s=RETRY_AFTER_S,
            )
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def drain(self) -> None:
        """Lets no further call in."""
        self._draining = True
