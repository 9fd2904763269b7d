"""Claiming a call when its message arrives and has to wait, in the worker's main process.

So a call that waits for a free slot is known to be held, and one that is over, or that
another worker has, does not wait.
"""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from celery.worker import strategy as celery_strategy

from forebay.errors import BackendUnavailable
from forebay.v1 import call_pb2
from forebay_backends.ledger.operations.attempts import claim
from forebay_workers.celery_hooks.request import Attempt, attempts_of, held
from forebay_workers.runtime import process

_log = logging.getLogger(__name__)


def strategy(task: Any, app: Any, consumer: Any) -> Any:
    """Celery's strategy for a task of ours: its own, behind a claim."""
    handle = celery_strategy.default(task, app, consumer)

    def claim_then_handle(
        message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: Any
    ) -> Any:
        refusal = _refusal(message)
        if refusal is not None:
            _log.info("call %s is not begun: %s", message.headers.get("id"), refusal)
            ack(_log, consumer.connection_errors)
            return None
        return handle(message, body, ack, reject, callbacks, **options)

    return claim_then_handle


def _refusal(message: Any) -> str | None:
    """Why no call of the message may be begun here; None where one may, or `begin` is to tell.

    Nothing may be raised here: it would stop the whole worker's consuming.
    """
    try:
        _, kwargs, _ = message.payload
        if "batch" in kwargs:
            batch = call_pb2.Batch.FromString(b64decode(kwargs["batch"]))
            keeper = process.current_worker().keeper
            call_ids = [member.call_id for member in batch.members]
            wanted = keeper is None or keeper.wanted(call_ids)
            return None if wanted else "its callers have left"
        attempts = attempts_of(kwargs)
        if not attempts:
            raise KeyError("call")
    except Exception as error:  # whatever somebody put on the queue: pickle is refused here
        return f"its message is none of Forebay's: {error!r}"
    now_held = held()
    held_attempts = {attempt for request in now_held for attempt in request.durable}
    if held_attempts.issuperset(attempts):
        return "it is held here already"
    if len(now_held) < process.current_worker().slots:
        return None  # it begins in a moment, which is a claim; the keeper claims one that hangs
    return _claim([attempt for attempt in attempts if attempt not in held_attempts])


def _claim(attempts: Sequence[Attempt]) -> str | None:
    """Claims the attempts; why none of them may be begun here."""
    try:
        runtime = process.runtime()
        refused = runtime.ledger.run_all(
            [claim(call, attempt, runtime.worker) for call, attempt in attempts]
        )
    except BackendUnavailable:
        return None
    except Exception:
        _log.exception("claiming calls failed")
        return None
    if any(refusal is None for refusal in refused):
        return None
    return ", ".join(refusal.why for refusal in refused)
