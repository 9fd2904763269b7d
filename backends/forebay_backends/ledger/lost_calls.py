"""Decides which queued calls lost their message and must be sent again. Pure.

A message can be lost: a gateway dies before sending it, the broker loses it, or it stays in the
socket of a frozen worker. The ledger knows which calls have no worker, and when their messages were
sent. The reaper sends a call again if its message

- has yet to be sent: a worker lost or released the call, or a gateway died before sending it;
- was overtaken: a worker received a call of the same queue and priority whose message was sent at
  least a lease later;
- must be missing: the queue holds fewer messages than the ledger has calls without a worker.

Piggybacked calls have no message of their own: another call's message names them, too. So the queue
need not hold a message for each. They are sent again if they were overtaken, or if the queue is
empty.

Sending a call again without need costs only a message: `claim` refuses duplicates.
"""

from __future__ import annotations

from forebay_backends.ledger.operations.maintenance import QueueBacklog, UnclaimedCall


def certainly_lost(waiting: QueueBacklog) -> list[UnclaimedCall]:
    """Calls that must be sent again whatever the queue holds."""
    return [call for call in waiting.old if call.overtaken or not call.sent_ms]


def probably_lost(waiting: QueueBacklog, depth: int) -> list[UnclaimedCall]:
    """The other calls that must be sent again.

    `depth` is the number of messages in the queue, including those of the certainly lost calls,
    which have been sent again by now.
    """
    certain = certainly_lost(waiting)
    others = [call for call in waiting.old if call not in certain and not call.piggybacked]
    missing = waiting.count - depth
    piggybacked = [
        call for call in waiting.old if call not in certain and call.piggybacked and not depth
    ]
    return sorted(others, key=lambda call: call.sent_ms)[: max(0, missing)] + piggybacked
