"""A computation in a thread, as an iterator that also tells how far it is."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from forebay.compute.v1 import compute_pb2 as pb

T = TypeVar("T")

PROGRESS_EVERY_S = 0.25
_AHEAD = 4  # parts computed before they are taken


class Abandoned(BaseException):
    """Nobody wants the computation any more; raised inside it, between steps."""


class ProgressMark:
    """How far a computation is; it says so itself, between steps."""

    def __init__(self) -> None:
        self.abandoned = False
        self.fraction = 0.0
        self.stage = "begin"

    def at(self, fraction: float, stage: str) -> None:
        """So far; raises Abandoned where nobody wants to know."""
        if self.abandoned:
            raise Abandoned
        self.fraction, self.stage = fraction, stage


class Background(Generic[T]):
    """Iterates over a computation's parts, and over `Progress` every 0.25 s.

    The computation runs in a thread of its own. The iteration ends when the parts do,
    or within 0.25 s of `wanted` turning false. Leaving the block abandons the
    computation: its thread ends at its next step, or part.
    """

    def __init__(
        self, parts: Callable[[ProgressMark], Iterator[T]], wanted: Callable[[], bool]
    ) -> None:
        self._parts = parts
        self._wanted = wanted
        self._mark = ProgressMark()
        self._queue: queue.Queue[T | BaseException | None] = queue.Queue(_AHEAD)

    def __enter__(self) -> Self:
        threading.Thread(target=self._compute, name="forebay-compute", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mark.abandoned = True

    def __iter__(self) -> Iterator[T | pb.Progress]:
        next_progress = time.monotonic() + PROGRESS_EVERY_S
        while self._wanted():
            remaining = next_progress - time.monotonic()
            if remaining <= 0:
                next_progress = time.monotonic() + PROGRESS_EVERY_S
                yield pb.Progress(fraction=self._mark.fraction, stage=self._mark.stage)
                continue
            try:
                part = self._queue.get(timeout=remaining)
            except queue.Empty:
                continue
            if part is None:
                return
            if isinstance(part, BaseException):
                raise part
            yield part

    def _compute(self) -> None:
        with contextlib.suppress(Abandoned):
            try:
                for part in self._parts(self._mark):
                    self._put(part)
                self._put(None)
            except Exception as error:  # handed over, to be raised where it is awaited
                self._put(error)

    def _put(self, part: T | BaseException | None) -> None:
        while not self._mark.abandoned:
            try:
                self._queue.put(part, timeout=PROGRESS_EVERY_S)
            except queue.Full:
                continue
            return
        raise Abandoned
