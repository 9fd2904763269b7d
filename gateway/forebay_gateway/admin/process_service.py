"""The RPCs of `forebay.v1.CallService` about the gateway itself: its activity and profiles."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from google.protobuf.duration_pb2 import Duration
from prometheus_client.registry import Collector

from forebay.errors import BackendUnavailable, FieldViolation, InvalidRequest
from forebay.v1 import calls_pb2 as pb
from forebay_backends.aio.periodic import run_periodically
from forebay_gateway.admin.activity import SLOT_S, WINDOW_S, Activity, QueueState, Slot, intervals
from forebay_gateway.admin.activity_messages import (
    counted_calls,
    interval_message,
    parse_slots,
    queue_states,
    slots_json,
)
from forebay_gateway.admin.call_service import SERVICE
from forebay_gateway.admin.siblings import Siblings
from forebay_gateway.profiling.profiler import MAX_DURATION_S, Profiler
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, unary

_SHARE = "activity"

_log = logging.getLogger(__name__)


class ProcessService:
    """Serves these RPCs for one process of a gateway.

    `durations` is the metric `rpc_server_call_duration_seconds`. `methods` are the full names of
    the methods with a route; `list_queues` reads the queues, and may raise BackendUnavailable.
    """

    def __init__(
        self,
        durations: Collector,
        methods: Collection[str],
        list_queues: Callable[[], Awaitable[Sequence[pb.Queue]]],
        siblings: Siblings,
    ) -> None:
        self._durations = durations
        self._methods = methods
        self._list_queues = list_queues
        self._activity = Activity()
        self._profiler = Profiler()
        self._siblings = siblings
        siblings.share(_SHARE, self._activity_from)

    def own_methods(self) -> dict[str, OwnMethod]:
        """The methods, by their paths."""
        methods = {
            "ReadActivity": unary(pb.ReadActivityRequest, self.read_activity),
            "ReadProfile": unary(pb.ReadProfileRequest, self.read_profile),
        }
        return by_path(SERVICE, methods)

    async def watch_activity(self) -> None:
        """Samples the calls and the queues, until cancelled."""
        await run_periodically(SLOT_S, self.sample, _log, "sampling activity")

    async def sample(self) -> None:
        """Takes a sample; leaves the queues out if a backend does not answer."""
        try:
            queues: tuple[QueueState, ...] = queue_states(await self._list_queues())
        except BackendUnavailable:
            queues = ()
        counted = counted_calls(self._durations.collect(), self._methods)
        self._activity.add(time.time(), counted, queues)

    def _activity_from(self, first: int) -> bytes:
        """This process's calls from slot `first` on, for another process."""
        return slots_json(slot for slot in self._activity.slots if slot.number >= first)

    async def read_activity(
        self, request: pb.ReadActivityRequest, context: Context
    ) -> pb.ReadActivityResponse:
        """The activity of all processes that answer."""
        window_s = _slots_s(request, "window", WINDOW_S)
        step_s = min(window_s, _slots_s(request, "step", window_s))
        slots: list[Slot] = list(self._activity.slots)
        last = self._activity.last_number
        siblings = await self._siblings.ask(_SHARE, max(0, last - window_s // SLOT_S))
        for text in siblings:
            slots += parse_slots(text)
        return pb.ReadActivityResponse(
            intervals=[
                interval_message(slot, step_s) for slot in intervals(slots, last, window_s, step_s)
            ],
            processes=1 + len(siblings),
        )

    async def read_profile(
        self, request: pb.ReadProfileRequest, context: Context
    ) -> pb.ReadProfileResponse:
        """Samples this process for the requested time."""
        duration_s = _seconds(request.duration)
        if not 0 < duration_s <= MAX_DURATION_S:
            expected = f"expected more than 0 s, and at most {MAX_DURATION_S:g} s"
            raise _invalid("duration", f"is {duration_s:g} s; {expected}")
        return await self._profiler.profile(duration_s)

    def abort_remaining(self) -> None:
        """Ends the RPCs in flight: the gateway is shutting down."""
        self._profiler.abort()


def _slots_s(request: pb.ReadActivityRequest, field: str, default_s: int) -> int:
    """The field in seconds, rounded up to whole slots."""
    seconds = _seconds(getattr(request, field))
    if seconds < 0 or seconds > WINDOW_S:
        raise _invalid(field, f"is {seconds:g} s; expected 0 to {WINDOW_S} s")
    return int(-(-seconds // SLOT_S) * SLOT_S) or default_s


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {problem}", violations=(FieldViolation(field, problem),))
