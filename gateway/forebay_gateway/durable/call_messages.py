"""Sends the messages of durable calls whose records are written."""

from __future__ import annotations

import logging

from forebay.errors import BackendUnavailable
from forebay.routes import Method
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.broker.base import Broker, ledger_push
from forebay_backends.broker.task_messages import TaskMessage, call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Push
from forebay_backends.ledger.operations.calls import discard
from forebay_gateway.durable.disconnect import Disconnects

_log = logging.getLogger(__name__)


class CallMessages:
    """One instance per gateway. If the ledger is the broker, the ledger pushes the messages."""

    def __init__(self, ledger: Ledger, broker: Broker, disconnects: Disconnects) -> None:
        self._ledger = ledger
        self._broker = broker
        self._disconnects = disconnects
        self._resend_outage = OutageLog(
            _log, "the broker does not answer; calls stay queued", "the broker takes calls again"
        )

    def push(self, call: CallKey, method: Method, priority: int, traceparent: str) -> Push:
        """The message for the ledger to push; empty if `send_or_discard` must send it."""
        return ledger_push(self._broker, _message(call, method, priority, 1, traceparent))

    async def send_or_discard(
        self,
        call: CallKey,
        method: Method,
        priority: int,
        *,
        traceparent: str,
        is_known: bool,
        cache: str,
    ) -> None:
        """Sends the first message of a call, unless the ledger has pushed it.

        `is_known` says whether the caller knows the call's id; `cache` is the call's cache key.
        Raises BackendUnavailable.
        """
        if self._broker.is_ledger:
            return
        try:
            await self._broker.send(_message(call, method, priority, 1, traceparent))
        except BackendUnavailable:
            # The caller may retry after this error; the retry must find no record. If a worker
            # got the message in spite of the error, the call continues.
            if await self._discarded(call, cache, is_known=is_known):
                raise

    async def _discarded(self, call: CallKey, cache: str, *, is_known: bool) -> bool:
        try:
            return await self._ledger.run(discard(call)) is None
        except BackendUnavailable:
            # The ledger is unavailable too. A retry with the caller's id attaches to the record.
            if not is_known:
                self._disconnects.abandoned(call, cache)
            raise

    async def resend(
        self, call: CallKey, method: Method, priority: int, attempt: int, traceparent: str
    ) -> None:
        """Resends the message: the gateway that accepted the call may have died before sending it.

        The call is valid even if this fails, since its first message may be on the broker.
        """
        if self._broker.is_ledger:
            return
        try:
            await self._broker.send(_message(call, method, priority, attempt, traceparent))
            self._resend_outage.succeeded()
        except BackendUnavailable as error:
            _log.debug("the broker does not answer; call %s stays queued", call)
            self._resend_outage.failed(error)


def _message(
    call: CallKey, method: Method, priority: int, attempt: int, traceparent: str
) -> TaskMessage:
    return call_message(
        call,
        attempt,
        task=method.route.task,
        queue=method.route.queue,
        priority=priority,
        traceparent=traceparent,
    )
