"""Everything that `forebay top` shows, read from a gateway once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

import grpc
from google.longrunning.operations_pb2 import Operation

from forebay.cli.call_rows import metadata_of
from forebay.cli.gateway import Gateway
from forebay.errors import CallUnknown
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2 as pb

WINDOW_S = 15
"""Rates and latencies cover this many seconds."""
_ACTIVE = "done = false"
_REST = 20.0
_MOST_LONG_CALLS = 20


@dataclass(frozen=True)
class Snapshot:
    """A gateway's queues, workers, rates and calls at one moment.

    `calls` are the newest active calls, followed by those that have run for longest.
    """

    target: str
    taken_at: datetime
    queues: Sequence[pb.Queue]
    workers: Sequence[pb.Worker]
    read_time_s: float
    activity: pb.ActivityInterval
    calls: Sequence[Operation]


class SnapshotReader:
    """Reads snapshots of a gateway, with at most `limit` of the newest calls.

    If only few of very many calls are active, the gateway reads up to 16,000 records to list them,
    which took 0.3 s of CPU when measured. So the reader waits for 20 times as long as the last
    listing took, and meanwhile returns the same newest calls.
    """

    def __init__(
        self, gateway: Gateway, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gateway = gateway
        self._limit = limit
        self._clock = clock
        self._newest: Sequence[Operation] = ()
        self._read_again_at = -inf

    def read(self) -> Snapshot:
        """The gateway's current state; raises `grpc.RpcError`."""
        gateway, listed = self._gateway, self._gateway.workers()
        began = self._clock()
        if began >= self._read_again_at:
            self._newest = gateway.newest_operations(_ACTIVE, self._limit)
            ended = self._clock()
            self._read_again_at = ended + _REST * (ended - began)
        return Snapshot(
            gateway.target,
            datetime.now(),
            gateway.queues(),
            listed.workers,
            listed.read_time.ToMilliseconds() / 1000,
            _latest(gateway.activity(WINDOW_S)),
            [*self._newest, *_long_running(gateway, listed.workers, self._newest)],
        )


def _latest(activity: pb.ReadActivityResponse) -> pb.ActivityInterval:
    """The only interval of the response; an empty one if the gateway has just started."""
    return activity.intervals[-1] if activity.intervals else pb.ActivityInterval()


def _long_running(
    gateway: Gateway, workers: Sequence[pb.Worker], newest: Sequence[Operation]
) -> list[Operation]:
    """The calls that have run for longest by the workers' reports, without those in `newest`."""
    listed = {one.name for one in newest}
    running = [one for worker in workers for one in worker.running]
    running.sort(key=lambda one: one.begin_time.ToMilliseconds())
    tenants = gateway.tenants
    names = [name for one in running for name in one.calls if name not in listed]
    wanted = [name for name in names if tenants.may_have(name)]
    found = [_operation(gateway, name) for name in wanted[:_MOST_LONG_CALLS]]
    return [
        one
        for one in found
        if one is not None and not one.done and tenants.tenant in (None, metadata_of(one).tenant)
    ]


def _operation(gateway: Gateway, name: str) -> Operation | None:
    """The call; None if it has ended, and its retention is over."""
    try:
        return gateway.operation(name)
    except grpc.RpcError as error:
        if isinstance(of_rpc_error(error), CallUnknown):
            return None
        raise
