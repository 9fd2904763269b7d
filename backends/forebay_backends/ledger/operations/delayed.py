"""Operations on delayed calls, which are accepted now and start later.

Such a call is in no queue, but in a sorted set, by the time at which it is due. Any gateway may
start a call that is due; the script lets only one of them do it.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.operations.base import (
    Operation,
    Push,
    Refused,
    about,
    milliseconds,
    parse_refused,
)
from forebay_backends.ledger.operations.held import HELD_WORDS, HeldCall, held_call

MOST_A_PARTITION = 500
_WORDS = 1 + HELD_WORDS


@dataclass(frozen=True)
class DelayedCall:
    """A delayed call that is due in `in_s` seconds; `held` has what its message needs."""

    held: HeldCall
    in_s: float

    @property
    def call(self) -> CallKey:
        return self.held.call


@dataclass(frozen=True)
class DelayedCount:
    """How many calls are delayed: all, and those of a tenant."""

    all: int = 0
    of_owner: int = 0

    def __add__(self, other: DelayedCount) -> DelayedCount:
        return DelayedCount(self.all + other.all, self.of_owner + other.of_owner)


def due_calls(
    partition: int, within_s: float, limit: int = MOST_A_PARTITION
) -> Operation[list[DelayedCall]]:
    """The delayed calls of a partition that are due within `within_s`, the soonest first."""
    return Operation(
        "delayed/due",
        partition_prefix(partition),
        (milliseconds(within_s), limit),
        lambda reply: [
            DelayedCall(held_call(reply[n + 1 : n + _WORDS]), float(reply[n]) / 1000)
            for n in range(0, len(reply), _WORDS)
        ],
    )


def start(call: CallKey, push: Push, *, held: bool = False) -> Operation[Refused | None]:
    """Queues a call that is due; pushes its message if the broker is the ledger's server.

    The gateway sends the message of a `held` call later; see `held.py`. If the call is not `held`
    and `push` is empty, the gateway must send the message and then run `mark_resent`. Refused with
    DELAYED if the call is not due yet, and with another state if it was started or has ended.
    """
    return about(call, "delayed/start", parse_refused, push.queue_list, push.message, int(held))


def count_delayed(partition: int, owner: str = "") -> Operation[DelayedCount]:
    """How many calls of a partition are delayed."""
    return Operation(
        "delayed/count",
        partition_prefix(partition),
        (owner,),
        lambda reply: DelayedCount(int(reply[0]), int(reply[1])),
    )
