"""A pub/sub channel that a test listens to."""

from __future__ import annotations

import time
import uuid
from types import TracebackType
from typing import Any, Self

from forebay_backends.ledger.blocking_client import BlockingLedger

_TIMEOUT_S = 10.0


class Channel:
    """A subscription that receives all messages, in order."""

    def __init__(self, ledger: BlockingLedger, kind: str, name: str | None = None) -> None:
        self.name = name or f"test:{kind}:{uuid.uuid4()}"
        self._ledger = ledger
        self._pubsub = ledger.redis.pubsub()

    def __enter__(self) -> Self:
        self._pubsub.subscribe(self.name)
        assert self._next()["type"] == "subscribe"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pubsub.close()

    def received(self) -> list[bytes]:
        """The messages that were published since the last call.

        A server publishes in order, so all of them arrive before a mark that is published now.
        """
        mark = uuid.uuid4().bytes
        self._ledger.publish(self.name, mark)
        frames: list[bytes] = []
        while (frame := self._next()["data"]) != mark:
            frames.append(frame)
        return frames

    def _next(self) -> dict[str, Any]:
        give_up = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < give_up:
            message: dict[str, Any] | None = self._pubsub.get_message(timeout=1.0)
            if message is not None:
                return message
        raise AssertionError(f"nothing came over {self.name} within {_TIMEOUT_S:g} s")
