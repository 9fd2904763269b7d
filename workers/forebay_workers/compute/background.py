"""Runs a computation in a thread, and iterates over its parts and its progress."""

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

PROGRESS_INTERVAL_S = 0.25
_QUEUE_SIZE = 4  # parts computed ahead


class Abandoned(BaseException):
    """Raised inside an abandoned computation, between its steps."""


class ProgressMark:
    """A computation's progress, which the computation sets between its steps."""

    def __init__(self) -> None:
        self.abandoned = False
        self.fraction = 0.0
        self.stage = "begin"

    def at(self, fraction: float, stage: str) -> None:
        """Sets the progress; raises Abandoned if the result is not needed any more."""
        if self.abandoned:
            raise Abandoned
        self.fraction, self.stage = fraction, stage


class Background(Generic[T]):
    """Yields a computation's parts, and a `Progress` every 0.25 s.

    The computation runs in a thread of its own. The iteration ends when the parts do,
    or within 0.25 s after `is_active` turns False. Leaving the block abandons the
    computation: its thread ends at its next step or part.
    """

    def __init__(
        self, parts: Callable[[ProgressMark], Iterator[T]], is_active: Callable[[], bool]
    ) -> None:
        self._parts = parts
        self._is_active = is_active
        self._mark = ProgressMark()
        self._queue: queue.Queue[T | BaseException | None] = queue.Queue(_QUEUE_SIZE)

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
        next_progress = time.monotonic() + PROGRESS_INTERVAL_S
        while self._is_active():
            remaining = next_progress - time.monotonic()
            if remaining <= 0:
                next_progress = time.monotonic() + PROGRESS_INTERVAL_S
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
            except Exception as error:  # raised again in the iterating thread
                self._put(error)

    def _put(self, part: T | BaseException | None) -> None:
        while not self._mark.abandoned:
            try:
                self._queue.put(part, timeout=PROGRESS_INTERVAL_S)
            except queue.Full:
                continue
            return
        raise Abandoned
