"""Results that an application keeps in Redis with Celery's Redis backend.

Celery writes each state of a task under a key and publishes it on a channel of the same name.
The tasks of a gateway have ids with a common prefix, so one pattern covers them all and no
call needs a subscription of its own. Pub/sub loses what is published while a connection is
down, so the gateway reads the keys after every subscription, and those of silent calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from forebay.errors import BackendUnavailable
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.broker.task_messages import JSON
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S
from forebay_backends.ledger.pubsub import listen_to_pattern
from forebay_backends.urls import RedisServer

_log = logging.getLogger(__name__)


class RedisResults:
    """The results of tasks whose ids begin with `prefix`; `pending` lists those in flight."""

    def __init__(
        self,
        server: RedisServer,
        prefix: str,
        on_meta: Callable[[str, bytes, str], None],
        pending: Callable[[], Sequence[str]],
        called: str = "result backend",
    ) -> None:
        self._called = called
        self._where = server
        self._key = f"{_celery_prefix(server.key_prefix)}celery-task-meta-"
        self._pattern = f"{self._key}{prefix}*"
        self._server = Ledger(server, f"the {called}")
        self._on_meta = on_meta
        self._pending = pending
        self._background_tasks = BackgroundTasks()
        self.is_listening = False

    async def listen(self) -> None:
        """Listens for results until cancelled, and subscribes again after every break."""
        await listen_to_pattern(
            self._where,
            self._pattern,
            self._on_message,
            self._on_subscribed,
            self._on_broken,
            called=self._called,
        )

    async def read(self, task_ids: Sequence[str]) -> None:
        """Reads the tasks' states. If the backend is unavailable, the next poll reads them."""
        if not task_ids:
            return
        try:
            metas = await self._server.within_timeout(
                self._server.redis.mget([f"{self._key}{task_id}" for task_id in task_ids])
            )
        except BackendUnavailable:
            _log.info("the %s does not answer; results are read later", self._called)
            return
        for task_id, meta in zip(task_ids, metas, strict=True):
            if meta is not None:
                self._deliver(task_id, meta)

    async def ping(self) -> None:
        """Returns when the server has answered; raises BackendUnavailable."""
        await self._server.ping()

    async def close(self) -> None:
        await self._background_tasks.join(COMMAND_TIMEOUT_S)
        await self._server.close()

    def _on_message(self, channel: str, meta: bytes) -> None:
        self._on_meta(channel.removeprefix(self._key), meta, JSON)

    def _on_subscribed(self) -> None:
        self.is_listening = True
        self._background_tasks.start(self.read(self._pending()))

    def _on_broken(self) -> None:
        self.is_listening = False

    def _deliver(self, task_id: str, meta: Any) -> None:
        try:
            self._on_meta(task_id, meta, JSON)
        except Exception:  # one bad result must not keep the others from being read
            _log.exception("the result of task %s can't be handled", task_id)


def _celery_prefix(key_prefix: str) -> str:
    """The prefix in the form of Celery's result backend; see its `KeyValueStoreBackend`."""
    return key_prefix if not key_prefix or key_prefix[-1] in ":_-." else f"{key_prefix}_"
