"""Celery's consumer, for a worker with signing keys: it passes on only signed messages.

It checks messages before Celery looks at them. So tasks that Celery brings along, such as
`celery.map`, which runs other tasks, and an application's own tasks need signatures, too.

Remote control has no signatures, and neither have Celery's mingle and gossip, by which workers tell
each other of revoked tasks: without `remote_control` a worker listens to none of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from celery.worker.consumer import Consumer

from forebay_backends.signing.keyring import SignatureError
from forebay_backends.signing.task_signatures import verify_task
from forebay_workers.celery_hooks.message_queue import queue_of
from forebay_workers.celery_hooks.request import begun_batches
from forebay_workers.runtime import process

_log = logging.getLogger(__name__)

_CelerysConsumer: Any = Consumer


class SignedConsumer(_CelerysConsumer):  # type: ignore[misc]
    """Chosen by Celery's setting `worker_consumer`."""

    def __init__(
        self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        options = dict(worker_options or {})
        if not process.settings().remote_control:
            options |= {"without_mingle": True, "without_gossip": True}
        begun_batches.is_kept = True
        super().__init__(*args, worker_options=options, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        handle = super().create_task_handler(*args, **kwargs)

        def handle_if_signed(message: Any) -> Any:
            try:
                self._verify(message)
            except SignatureError as error:
                process.keyring().refused(error)
                message.ack_log_error(_log, self.connection_errors)
                return None
            return handle(message)

        return handle_if_signed

    def _verify(self, message: Any) -> None:
        """Raises SignatureError for a message that must not be run."""
        headers = message.headers
        if not isinstance(headers, Mapping):
            headers = {}
        verify_task(process.keyring(), headers, message.body, queue_of(self, message))
        keeper = process.current_worker().keeper
        now_ms = None if keeper is None else keeper.ledger_ms()
        if now_ms is not None:
            begun_batches.forget_expired(now_ms)
        if headers.get("id") in begun_batches:
            raise SignatureError("replayed", "the task message has been run before")
