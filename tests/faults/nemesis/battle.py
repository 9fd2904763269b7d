"""Runs calls and faults at the same time, then waits without faults, then checks the promises."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis

from tests.faults.nemesis.checker import Breach, History, check
from tests.faults.nemesis.client import Client
from tests.faults.nemesis.cluster import Cluster
from tests.faults.nemesis.harm import harm, well_again
from tests.faults.nemesis.history import Call, Viewer, Window
from tests.faults.nemesis.ledger_view import let_retention_pass, read_record
from tests.faults.nemesis.plans import QUEUES, plans
from tests.faults.nemesis.remains import read_remains, unfit
from tests.faults.nemesis.schedule import Fault, schedule
from tests.survival.work_log import read_runs

CLIENTS = 6
AT_WORK_S = 0.5
"""The minimum time between two faults of a member."""
_CHECKS_AT_A_TIME = 16
_TIDY_S = 30.0


@dataclass(frozen=True)
class Round:
    """The seed, the numbers of calls and faults, and the duration."""

    seed: int
    calls: int
    faults: int
    within_s: float
    longest_s: float = 6.0


@dataclass
class Outcome:
    """The result of a battle."""

    calls: list[Call] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    reruns: int = 0
    peace_s: float = 0.0
    """The time from the end of the last fault until all calls had ended."""


class Battle:
    """One round of calls and faults on a running cluster."""

    def __init__(self, cluster: Cluster, one: Round, begun_s: float, settle_s: float) -> None:
        self._cluster = cluster
        self._round = one
        self._begun_s = begun_s
        self._give_up_s = begun_s + one.within_s + settle_s
        self.calls = [Call(plan) for plan in plans(one.seed, one.calls, one.within_s)]
        self.windows: list[Window] = []

    async def fight(self) -> None:
        """Makes all calls and does all faults; returns when the callers are done."""
        addresses = self._cluster.addresses
        clients = [Client(addresses, f"{self._round.seed} {n}") for n in range(CLIENTS)]
        try:
            async with asyncio.TaskGroup() as group:
                for fault in self._faults():
                    group.create_task(self._harm(fault))
                for number, call in enumerate(self.calls):
                    group.create_task(self._call(call, clients[number % CLIENTS]))
        finally:
            for client in clients:
                await client.close()

    def _faults(self) -> list[Fault]:
        one = self._round
        members = {name: _FREQUENCY[name.partition("-")[0]] for name in self._cluster.members}
        return schedule(one.seed, members, one.faults, one.within_s, one.longest_s)

    async def _harm(self, fault: Fault) -> None:
        await self._until(fault.at_s)
        async with self._cluster.at_peace[fault.member]:
            # A member that is still starting has no calls to lose, so it gets time to start.
            await well_again(self._cluster, fault.member)
            await asyncio.sleep(AT_WORK_S)
            if time.monotonic() < self._begun_s + self._round.within_s + self._round.longest_s:
                self.windows.append(await harm(self._cluster, fault))

    async def _call(self, call: Call, client: Client) -> None:
        await self._until(call.plan.at_s)
        call.viewers = [Viewer() for _ in range(call.plan.viewers)]
        viewing = asyncio.gather(
            *(client.view(call.plan, viewer, self._give_up_s) for viewer in call.viewers)
        )
        cancelling = asyncio.create_task(self._cancel(call, client))
        # The checker sees a caller that still waits then as a call without an end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._give_up_s + 10):
                await viewing
        cancelling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelling

    async def _cancel(self, call: Call, client: Client) -> None:
        if call.plan.cancel_after_s is not None:
            await asyncio.sleep(call.plan.cancel_after_s)
            await client.cancel(call, self._give_up_s)

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, self._begun_s + at_s - time.monotonic()))


_FREQUENCY = {"gateway": 2.0, "worker": 3.0, "redis": 2.0, "rabbitmq": 2.0}


async def battle(cluster: Cluster, rounds: Sequence[Round], settle_s: float) -> Outcome:
    """Fights the rounds, then looks at everything that was done.

    A round begins when the faults of the one before it are over, whose calls may go on.
    """
    outcome = Outcome()
    keeping_up = asyncio.create_task(cluster.keep_up())
    try:
        begun_s, battles = time.monotonic(), []
        for one in rounds:
            battles.append(Battle(cluster, one, begun_s, settle_s))
            begun_s += one.within_s + one.longest_s
        async with asyncio.TaskGroup() as group:
            for fought in battles:
                group.create_task(fought.fight())
        for fought in battles:
            outcome.calls += fought.calls
            outcome.windows += fought.windows
        await _reckon(cluster, outcome, settle_s)
    finally:
        keeping_up.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping_up
    return outcome


async def _reckon(cluster: Cluster, outcome: Outcome, settle_s: float) -> None:
    last_s = max((window.end_s for window in outcome.windows), default=time.monotonic())
    with contextlib.closing(redis.Redis(port=cluster.redis_port)) as server:
        await _within(settle_s, lambda: _all_over(server, outcome.calls))
        outcome.peace_s = time.monotonic() - last_s
        await _ask_again(cluster, outcome.calls)
        forgets = cluster.shape.appendfsync != "always"
        runs = read_runs(cluster.work_log)
        history = History(outcome.calls, runs, outcome.windows, forgets)
        outcome.breaches += check(history)
        outcome.reruns = sum(c.record.attempts - 1 for c in outcome.calls if c.record)
        outcome.breaches += await _tidy(server, outcome.calls)


def _all_over(server: redis.Redis, calls: Sequence[Call]) -> bool:
    """Whether every call with a record has ended; stores the records."""
    for call in calls:
        if call.plan.kind.durable and (call.record is None or call.record.finished_s is None):
            call.record = read_record(server, call.plan.id)
    return all(call.record is None or call.record.finished_s is not None for call in calls)


async def _ask_again(cluster: Cluster, calls: Sequence[Call]) -> None:
    """Attaches to every call with a record, on every gateway, from the first item on."""
    at_a_time = asyncio.Semaphore(_CHECKS_AT_A_TIME)
    client = Client(cluster.addresses, "checks")

    async def ask(call: Call) -> None:
        async with at_a_time:
            for gateway in cluster.addresses:
                call.checks.append(await client.check(call.plan, gateway))

    over = [call for call in calls if call.record and call.record.finished_s]
    try:
        await asyncio.gather(*(ask(call) for call in over))
    finally:
        await client.close()


async def _tidy(server: redis.Redis, calls: Sequence[Call]) -> list[Breach]:
    """The keys that remain besides the records and, after their retention, all that remain."""
    records = {f"/{call.plan.id}": call.record.state for call in calls if call.record}
    await _within(_TIDY_S, lambda: not unfit(read_remains(server), records))
    breaches = [Breach("", "nothing left", what) for what in unfit(read_remains(server), records)]
    let_retention_pass(server)
    await _within(_TIDY_S, lambda: not _kept(server))
    breaches += [Breach("", "nothing left after its retention", key) for key in _kept(server)]
    return breaches


def _kept(server: redis.Redis) -> list[str]:
    """Keys of calls, indexes and queues, without keys that expire."""
    keys = [raw.decode() for raw in server.scan_iter(count=1000)]
    return [
        key
        for key in keys
        if (
            key.startswith("forebay:{")
            and not key.startswith("forebay:{fleet}:")
            and not key.endswith((":newest_claimed_sent", ":sweep_state", ":clock", ":bytes"))
        )
        or (key.endswith(":bytes") and server.get(key) != b"0")
        or key.startswith(QUEUES)
    ]


async def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(0.2)
    return True
