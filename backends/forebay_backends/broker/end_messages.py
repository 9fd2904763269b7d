"""The message that tells a task of the end of a call. Pure.

The task gets one argument, a dict, to which later versions may add keys. For example:

    {"id": "order-7", "tenant": "", "method": "shop.v1.Orders.Pack", "state": "SUCCEEDED",
     "reason": null, "attempt": 1, "create_time": "2026-01-31T08:00:00.250Z", "start_time": null,
     "queue_time": "2026-01-31T08:00:00.250Z", "begin_time": "2026-01-31T08:00:00.310Z",
     "finish_time": "2026-01-31T08:00:02.100Z"}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from google.protobuf.timestamp_pb2 import Timestamp

from forebay.v1 import route_pb2
from forebay_backends.broker.task_messages import TaskMessage
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.ends import KeptEnd


@dataclass(frozen=True)
class EndMessage(TaskMessage):
    """A message to a queue of an application, which declares the queue itself."""

    declares_queue: ClassVar[bool] = False


def end_message(end: KeptEnd, on_end: route_pb2.OnEnd) -> EndMessage:
    """The message; every message about the same end has the same id."""
    task_id = f"{end.call.task_id}#end.{end.finished_ms}"
    return EndMessage(task_id, on_end.task, on_end.queue, None, {}, args=(_argument(end),))


def end_of(argument: Mapping[str, Any], on_end: route_pb2.OnEnd) -> KeptEnd:
    """The end that a message is about, with `on_end` not sealed: the reverse of `end_message`.

    Raises KeyError, TypeError or ValueError if the message's argument is not such a dict.
    """
    return KeptEnd(
        CallKey.parse(f"{argument['tenant']}/{argument['id']}"),
        argument["method"],
        State(argument["state"]),
        argument["reason"] or "",
        int(argument["attempt"]),
        _milliseconds(argument["create_time"]),
        _milliseconds(argument["start_time"]),
        _milliseconds(argument["queue_time"]),
        _milliseconds(argument["begin_time"]),
        _milliseconds(argument["finish_time"]),
        on_end.SerializeToString(),
    )


def _argument(end: KeptEnd) -> dict[str, Any]:
    return {
        "id": end.call.id,
        "tenant": end.call.owner,
        "method": end.method,
        "state": str(end.state),
        "reason": end.reason or None,
        "attempt": end.attempt,
        "create_time": _date(end.created_ms),
        "start_time": _date(end.start_ms),
        "queue_time": _date(end.queued_ms),
        "begin_time": _date(end.begun_ms),
        "finish_time": _date(end.finished_ms),
    }


def _date(time_ms: int) -> str | None:
    if not time_ms:
        return None
    stamp = Timestamp()
    stamp.FromMilliseconds(time_ms)
    return stamp.ToJsonString()


def _milliseconds(date: str | None) -> int:
    if date is None:
        return 0
    stamp = Timestamp()
    stamp.FromJsonString(date)
    return stamp.ToMilliseconds()
