"""A ledger's connections: closed, reopened after a break, and limited in retries."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, CallKey, partition_prefix
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import emit, emit_transient, finish
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.calls import accept, cancel, credit, leave, watch
from forebay_backends.ledger.operations.maintenance import evict, sweep
from forebay_backends.ledger.presence import WorkerPresence, announce, live_workers
from tests.contract.records import NOBODY, accepted, new_call, new_key, running
from tests.harness import eventually, free_port

BOUND_S = 10.0


def connections(ledger: BlockingLedger) -> int:
    """The number of the server's connections."""
    return len(ledger.redis.client_list())


def test_a_blocking_ledger_that_is_closed_holds_no_connection(
    ledger: BlockingLedger, ledger_url: str
) -> None:
    before = connections(ledger)
    closed = BlockingLedger(ledger_url)
    accepted(closed)
    assert connections(ledger) == before + 1
    closed.close()
    eventually(lambda: connections(ledger) == before, "its connection is closed")


def test_threads_take_over_the_connections_of_threads_that_have_ended(
    ledger: BlockingLedger, ledger_url: str
) -> None:
    before = connections(ledger)
    shared = BlockingLedger(ledger_url)
    for _ in range(5):
        thread = threading.Thread(target=accepted, args=(shared,))
        thread.start()
        thread.join()
    assert connections(ledger) == before + 1
    shared.close()


async def test_an_aio_ledger_that_is_closed_holds_no_connection(
    ledger: BlockingLedger, ledger_url: str
) -> None:
    before = connections(ledger)
    closed = Ledger(ledger_url)
    await closed.ping()
    assert connections(ledger) == before + 1
    await closed.close()
    eventually(lambda: connections(ledger) == before, "its connection is closed")


async def test_a_connection_that_broke_while_idle_is_replaced(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    record = accepted(ledger)
    await aio_ledger.ping()
    ledger.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await aio_ledger.run(cancel(record.call)) is None
    assert record.ending().reason == "CANCELLED"


@pytest.mark.parametrize("kind", ["tcp", "unix", "cluster"])
async def test_a_server_that_is_not_there_is_unavailable_within_a_bound(
    kind: str, tmp_path: Path
) -> None:
    server = f"127.0.0.1:{free_port()}"
    urls = {"tcp": f"redis://{server}/0", "unix": f"unix://{tmp_path}/none"}
    url = urls.get(kind, f"redis-cluster://{server}")
    operation, push = accept(new_key(), new_call(), NOBODY, Push()), Push("list", b"message")
    presence = WorkerPresence("worker", ("queue",), (), 1, "solo", "1")
    blocking, aio = BlockingLedger(url), Ledger(url)
    commands: list[Awaitable[object]] = [
        *(aio.run(operation), aio.run_all([operation]), aio.push(push), aio.ping()),
        *(aio.publish("channel", b"frame"), aio.elected("one", 1.0), aio.items(new_key(), 0, 1)),
        *(aio.queue_depths(["list"]), aio.now_ms(), announce(aio, presence), live_workers(aio)),
    ]
    with pytest.raises(BackendUnavailable) as raised:
        blocking.run(operation)
    assert raised.value.retry_after_s is not None
    began = time.monotonic()
    results = await asyncio.gather(*commands, return_exceptions=True)
    results += await aio.run_each([operation])
    if kind != "cluster":  # where a push belongs to no partition
        results += await aio.run_with_push([operation], push)
    assert {type(result) for result in results} == {BackendUnavailable}
    assert time.monotonic() - began < BOUND_S
    blocking.close()
    await aio.close()


def test_a_bug_is_not_treated_as_an_outage(ledger: BlockingLedger) -> None:
    call = new_key()
    ledger.redis.set(f"{call.partition}:call:{call}", "no hash")
    wrong: Operation[object] = cancel(call)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        ledger.run(wrong)


REFUSALS = {
    "is full": (("CONFIG SET maxmemory 1",), ("CONFIG SET maxmemory 0",)),
    "too few replicas": (
        ("CONFIG SET min-replicas-to-write 1",),
        ("CONFIG SET min-replicas-to-write 0",),
    ),
    "is read-only, a replica": (("REPLICAOF 127.0.0.1 1",), ("REPLICAOF NO ONE",)),
    "a replica without its primary|a replica": (
        ("CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"),
        ("REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"),
    ),
}
"""Error replies of a server that answers: how to cause each, and how to undo that."""


@pytest.mark.parametrize("word", REFUSALS)
async def test_a_server_that_rejects_writes_is_unavailable_until_it_accepts_them(
    ledger: BlockingLedger, aio_ledger: Ledger, word: str
) -> None:
    into, out_of = REFUSALS[word]
    before = accepted(ledger)
    operation = accept(new_key(), new_call(), NOBODY, Push())
    for command in into:
        ledger.redis.execute_command(*command.split())
    try:
        for run in (ledger.run, lambda operation: ledger.run_all([operation])):
            with pytest.raises(BackendUnavailable, match=word) as raised:
                run(operation)
            assert raised.value.retry_after_s is not None
        with pytest.raises(BackendUnavailable, match=word):
            await aio_ledger.run(operation)
        with pytest.raises(BackendUnavailable, match=word):
            await aio_ledger.run_all([operation])
        with pytest.raises(BackendUnavailable, match=word):
            await aio_ledger.ping()
    finally:
        for command in out_of:
            ledger.redis.execute_command(*command.split())
    assert await aio_ledger.run(operation) is None, "it was refused whole"
    assert before.state is State.QUEUED


def test_no_script_leaves_half_of_its_writes_where_the_server_is_full(
    ledger: BlockingLedger,
) -> None:
    """A script is stopped at its first write that needs memory, or runs to its end."""
    record, finished = running(ledger), running(ledger)
    ledger.run(finish(finished.call, 1, Event.SUCCEED, "", b""))
    kept = everything(ledger)
    operations = (
        *(emit(record.call, 1, 0, b"item"), emit_transient(record.call, 1, b"transient")),
        *(watch(record.call, "another"), credit(record.call, 1), leave(record.call, NOBODY)),
        *(finish(record.call, 1, Event.SUCCEED, "", b""), cancel(record.call)),
        *(accept(new_key(), new_call(), NOBODY, Push("list", b"message")), sweep(0, ())),
    )
    ledger.redis.config_set("maxmemory", 1)
    try:
        for operation in operations:
            before = everything(ledger)
            with contextlib.suppress(BackendUnavailable):
                ledger.run(operation)  # type: ignore[arg-type]
                assert operation.script in ("calls/leave", "maintenance/sweep"), (
                    "nothing that takes memory is done"
                )
                continue
            assert everything(ledger) == before, f"{operation.script} was done by half"
        assert record.state is State.RUNNING
        assert ledger.run(evict(partition_of(finished.call))) > 0, "but room can be made"
    finally:
        ledger.redis.config_set("maxmemory", 0)
    assert everything(ledger) != kept
    ledger.run(emit(record.call, 1, 0, b"item"))
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    assert record.state is State.SUCCEEDED


def partition_of(call: CallKey) -> int:
    """The number of the call's partition."""
    return [partition_prefix(number) for number in range(PARTITIONS)].index(call.partition)


def everything(ledger: BlockingLedger) -> dict[bytes, bytes]:
    """All data of the server."""
    server: Any = ledger.redis
    return {key: server.dump(key) for key in server.scan_iter(b"*", count=1000)}


async def test_a_cancellation_is_never_lost(aio_ledger: Ledger) -> None:
    async def push() -> bool:
        await aio_ledger.push(Push("list", b"message"))
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def cancel(task: asyncio.Task[bool], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        task.cancel()

    tasks = [asyncio.create_task(push()) for _ in range(400)]
    await asyncio.gather(*(cancel(task, n * 0.0001) for n, task in enumerate(tasks)))
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(end, asyncio.CancelledError) for end in ends)
    assert True not in ends
