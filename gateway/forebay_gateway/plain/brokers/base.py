"""The interface that plain calls need from brokers and result backends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from forebay_backends.broker.base import Broker
from forebay_gateway.plain.brokers.celery_messages import ControlMessage, PlainMessage


class Withdrawal(Enum):
    """The result of an attempt to remove a message from its queue."""

    REMOVED = auto()
    """It was in its queue and has been removed: no worker has it, or will get it."""
    HELD = auto()
    """A worker has taken it and not acknowledged it: the task waits in the worker, or runs with
    late acknowledgement. The worker may have died since."""
    ABSENT = auto()
    """A worker has taken and acknowledged it, or it never arrived."""
    UNSUPPORTED = auto()
    """The broker can't remove a message from a queue."""


class PlainBroker(Broker, Protocol):
    """A broker with this gateway's reply queue; also broadcasts to workers.

    Implemented by `PlainRedisBroker` and `PlainAmqpBroker`. `close` deletes the reply queue, or
    lets it expire.
    """

    @property
    def is_listening(self) -> bool:
        """Whether the reply queue is being read."""

    @property
    def can_withdraw(self) -> bool:
        """Whether messages can be removed from queues; otherwise they expire in `max_queue_s`."""

    async def listen(self) -> None:
        """Reads the reply queue until cancelled, and reconnects after every break."""

    async def broadcast(self, control: ControlMessage) -> None:
        """Publishes to all workers' mailboxes; raises BackendUnavailable."""

    async def withdraw(self, message: PlainMessage) -> Withdrawal:
        """Removes the message from its queue if it is there; raises BackendUnavailable.

        A send that is still in progress does not add it afterwards.
        """


class PlainResults(Protocol):
    """An application's result backend; implemented by `RedisResults` and `PolledResults`."""

    @property
    def is_listening(self) -> bool:
        """Whether results are being read."""

    async def listen(self) -> None:
        """Reads results until cancelled, and reconnects after every break."""

    async def read(self, task_ids: Sequence[str]) -> None:
        """Reads the states of tasks whose results may have been missed."""

    async def ping(self) -> None:
        """Returns when the backend has answered; raises BackendUnavailable."""

    async def close(self) -> None:
        """Closes all connections."""


async def listening(source: PlainBroker | PlainResults) -> None:
    """Returns when the source is being read."""
    while not source.is_listening:  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.01)
