"""Operations that are asked for while others are on their way, in one round trip."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.operations.base import Operation

T = TypeVar("T")

_MOST = 64
"""Operations a round trip: a server runs them one after the other, and others wait."""


class Pipeliner:
    """Runs small operations; those of a busy moment share their costs.

    They reach the server in the order in which they were asked for. Where it is silent, those
    that wait behind what it did not answer fail with that: nobody waits for longer than one
    who asks alone.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable.

        Whoever is cancelled meanwhile leaves it undone, or to be done a moment later.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append((operation, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked[:_MOST], self._asked[_MOST:]
                await self._answer([one for one in asked if not one[1].done()])
        finally:
            self._sending = None

    async def _answer(self, asked: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        answers = await self._ledger.run_each([operation for operation, _ in asked])
        if any(_is_silence(answer) for answer in answers):
            behind, self._asked = self._asked, []
            asked = asked + behind
            answers = answers + [answers[-1] for _ in behind]
        for (_, waiting), answer in zip(asked, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)


def _is_silence(answer: Any) -> bool:
    silence = (TimeoutError, redis_errors.TimeoutError)
    return isinstance(answer, BackendUnavailable) and isinstance(answer.__cause__, silence)
