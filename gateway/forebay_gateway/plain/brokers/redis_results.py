"""Results that an application keeps in a Redis, as Celery's backend of that name does.

There each state of a task is written under a key and published on a channel of the same name.
Pub/sub loses what is said while a connection is away, so keys are read on every
new subscription, and once in a while. One pattern hears all tasks of this gateway,
whose ids begin alike: nothing is subscribed for a single call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from forebay.errors import BackendUnavailable
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.cancellation import cancellable
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S

_KEY = "celery-task-meta-"
_SILENCE_S = 5.0
_AGAIN_AFTER_S = 0.2

_log = logging.getLogger(__name__)


class RedisResults:
    """The results of tasks whose ids begin with the prefix; `pending` are those waited for."""

    def __init__(
        self,
        url: str,
        prefix: str,
        on_meta: Callable[[str, bytes], None],
        pending: Callable[[], Sequence[str]],
    ) -> None:
        self._url = url
        self._pattern = f"{_KEY}{prefix}*"
        self._server = Ledger(url)
        self._on_meta = on_meta
        self._pending = pending
        self._background_tasks = BackgroundTasks()
        self.is_listening = False

    async def listen(self) -> None:
        """Hears results until cancelled, subscribing anew whenever the connection breaks."""
        while True:
            client = redis.asyncio.Redis.from_url(
                self._url, socket_connect_timeout=CONNECT_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
            )
            try:
                async with client.pubsub() as pubsub:
                    async with asyncio.timeout(COMMAND_TIMEOUT_S):
                        await cancellable(pubsub.psubscribe(self._pattern))
                    await self._hear(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                if self.is_listening:
                    _log.warning("the result backend's pub/sub broke: %s", error)
            except Exception:  # a fault of ours must not end the gateway
                _log.exception("hearing the result backend failed")
            finally:
                self.is_listening = False
                await client.aclose()
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def read(self, task_ids: Sequence[str]) -> None:
        """Looks for what was missed; a backend that is away is asked again the next time."""
        if not task_ids:
            return
        try:
            found = await self._server.within_timeout(
                self._server.redis.mget([f"{_KEY}{task_id}" for task_id in task_ids])
            )
        except BackendUnavailable:
            _log.info("the result backend does not answer; it is asked again")
            return
        for task_id, meta in zip(task_ids, found, strict=True):
            if meta is not None:
                self._take(task_id, meta)

    async def ping(self) -> None:
        """Asks the server; raises BackendUnavailable."""
        await self._server.ping()

    async def close(self) -> None:
        """Closes the connections."""
        await self._background_tasks.join(COMMAND_TIMEOUT_S)
        await self._server.close()

    async def _hear(self, pubsub: redis.asyncio.client.PubSub) -> None:
        silent = 0
        while True:
            message = await pubsub.get_message(timeout=_SILENCE_S)
            if message is None:
                # A connection may be half open: two silences with a ping between are its end.
                silent += 1
                if silent > 1:
                    raise OSError("no answer to a ping")
                await cancellable(pubsub.ping())
                continue
            silent = 0
            if message["type"] == "psubscribe":
                self.is_listening = True
                self._background_tasks.start(self.read(self._pending()))
            elif message["type"] == "pmessage":
                self._take(message["channel"].decode().removeprefix(_KEY), message["data"])

    def _take(self, task_id: str, meta: Any) -> None:
        try:
            self._on_meta(task_id, meta)
        except Exception:  # one result must not end the hearing of all others
            _log.exception("a result that can't be taken")
