"""Sends replies to gateways from the thread of a handler, or of its timer."""

from __future__ import annotations

import logging
import time

from forebay.v1 import call_pb2
from forebay_backends.ledger.errors import RETRY_DELAY_S
from forebay_backends.ledger.frames import reply_frame
from forebay_workers.handler.ledger_retry import retry_while_unavailable
from forebay_workers.runtime.process import Runtime

_log = logging.getLogger(__name__)


def publish_replies(runtime: Runtime, channel: str, replies: call_pb2.BatchReply) -> None:
    """Returns when the replies have reached their gateway, or it has ended.

    Waits for a ledger that does not answer, and for a gateway that connects again. Raises
    LedgerUnavailable.
    """
    frame, absent = reply_frame(replies.SerializeToString()), runtime.absent_gateways
    while not retry_while_unavailable(lambda: runtime.ledger.publish(channel, frame)):
        if not absent.may_return(channel, time.monotonic()):
            _log.info("no gateway subscribes to %s any more", channel)
            return
        time.sleep(RETRY_DELAY_S)
    absent.reached(channel)
