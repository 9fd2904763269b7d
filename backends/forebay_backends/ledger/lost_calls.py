"""Queued calls that no worker has claimed, and which of them are to be sent again.

A message can vanish between broker and worker: a frozen worker's socket takes it,
a gateway dies before sending it, a broker loses it. The ledger knows which calls wait
for a worker and when their messages were sent. A call is sent again when its message

- is yet to be sent, since its claim lapsed;
- was overtaken: a worker got a call of the same queue and priority that was sent a
  lease later, or more;
- must be missing, since the queue holds fewer messages than the ledger has calls waiting.

Calls may ride on another's message, which names them all. They are not counted with the
messages that must be there, and are sent again when they were overtaken, or when the
queue holds no message at all.

One that is sent again for nothing costs a message: duplicates die at `claim`.
"""

from __future__ import annotations

from forebay_backends.ledger.operations.maintenance import QueueBacklog, UnclaimedCall


def certainly_lost(waiting: QueueBacklog) -> list[UnclaimedCall]:
    """Calls that are to be sent again whatever the queue holds."""
    return [call for call in waiting.old if call.overtaken or not call.sent_ms]


def probably_lost(waiting: QueueBacklog, depth: int) -> list[UnclaimedCall]:
    """The others that are to be sent again.

    `depth` is how many messages the queue holds, those of the certainly lost included:
    they have been sent again.
    """
    certain = certainly_lost(waiting)
    others = [call for call in waiting.old if call not in certain and not call.piggybacked]
    missing = waiting.count - depth
    piggybacked = [
        call for call in waiting.old if call not in certain and call.piggybacked and not depth
    ]
    return sorted(others, key=lambda call: call.sent_ms)[: max(0, missing)] + piggybacked
