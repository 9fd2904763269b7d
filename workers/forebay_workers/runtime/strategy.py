"""Claims a call when its message arrives and no slot is free, in the worker's main process.

The ledger then knows that this worker has reserved the call. A call that has ended, or that
another worker has claimed, does not wait for a slot.
"""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from celery.worker import strategy as celery_strategy

from forebay.errors import BackendUnavailable
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import claim
from forebay_backends.telemetry.call_labels import about_call, call_of_task
from forebay_workers.celery_hooks.request import (
    Attempt,
    about_calls,
    attempts_of,
    calls_of,
    reserved_calls,
    traceparents_of,
)
from forebay_workers.runtime import process

_log = logging.getLogger(__name__)


def strategy(task: Any, app: Any, consumer: Any) -> Any:
    """The Celery strategy of our tasks: claims the calls, then does as Celery's default."""
    handle = celery_strategy.default(task, app, consumer)

    def claim_then_handle(
        message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: Any
    ) -> Any:
        try:
            batch, attempts, traceparents = _calls(message)
        except Exception as error:  # anyone may write to the queue; also raised for pickle
            why = f"its message is not Forebay's: {type(error).__name__}"
            task_id = message.headers.get("id")
            tenant, call_id = call_of_task(str(task_id or ""))
            with about_call(call_id, tenant=tenant):
                _log.warning("call %s is not begun: %s", task_id, why)
            ack(_log, consumer.connection_errors)
            return None
        with about_calls(attempts, traceparents, batch):
            refusal = _refusal(attempts) if batch is None else _refusal_of_batch(batch)
            if refusal is None:
                return handle(message, body, ack, reject, callbacks, **options)
            _log.info("call %s is not begun: %s", message.headers.get("id"), refusal)
            ack(_log, consumer.connection_errors)
            return None

    return claim_then_handle


def _calls(
    message: Any,
) -> tuple[call_pb2.Batch | None, Sequence[Attempt], Mapping[CallKey, str]]:
    """The message's batch, if it is of ephemeral calls, its calls, and the traces of durable ones.

    Raises for other forms.
    """
    _, kwargs, _ = message.payload
    if "batch" in kwargs:
        batch = call_pb2.Batch.FromString(b64decode(kwargs["batch"]))
        attempts = [(call, 1) for call in calls_of(batch)]
    else:
        batch, attempts = None, attempts_of(kwargs)
    if not attempts:
        raise KeyError("call")
    return batch, attempts, traceparents_of(kwargs, attempts)


def _refusal_of_batch(batch: call_pb2.Batch) -> str | None:
    keeper = process.current_worker().keeper
    accepted = keeper is None or keeper.accept_batch(calls_of(batch))
    return None if accepted else "its callers have disconnected"


def _refusal(attempts: Sequence[Attempt]) -> str | None:
    """Returns why no durable call may begin here; None if one may, or if `begin` decides.

    Raises nothing: after an exception the worker would consume no more messages.
    """
    reserved = reserved_calls()
    reserved_attempts = {attempt for request in reserved for attempt in request.durable}
    if reserved_attempts.issuperset(attempts):
        return "this worker has reserved it already"
    if len(reserved) < process.current_worker().slots:
        # The calls begin at once, which claims them. If one hangs, the next renewal claims it.
        return None
    return _claim([attempt for attempt in attempts if attempt not in reserved_attempts])


def _claim(attempts: Sequence[Attempt]) -> str | None:
    """Claims the attempts; returns why none of them may begin here, or None if one may."""
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
