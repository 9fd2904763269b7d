"""A ledger's connections: given up when closed, made anew when broken, bounded when refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from forebay.errors import BackendUnavailable
from forebay_ledger.connection import BlockingLedger, Ledger
from forebay_ledger.operations import Operation, Push, accept, cancel
from tests.contract.records import NOBODY, accepted, new_call, new_key
from tests.harness import eventually, free_port

BOUND_S = 10.0


def connections(ledger: BlockingLedger) -> int:
    """How many the server has."""
    return len(ledger.redis.client_list())


def test_a_blocking_ledger_that_is_closed_holds_no_connection(
    ledger: BlockingLedger, ledger_url: str
) -> None:
    before = connections(ledger)
    closed = BlockingLedger(ledger_url)
    accepted(closed)
    assert connections(ledger) == before + 1
    closed.close()
    eventually(lambda: connections(ledger) == before, "its connection is closed", BOUND_S / 5)


async def test_an_aio_ledger_that_is_closed_holds_no_connection(
    ledger: BlockingLedger, ledger_url: str
) -> None:
    before = connections(ledger)
    closed = Ledger(ledger_url)
    await closed.ping()
    assert connections(ledger) == before + 1
    await closed.close()
    eventually(lambda: connections(ledger) == before, "its connection is closed", BOUND_S / 5)


async def test_a_connection_that_broke_while_idle_is_made_anew(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    record = accepted(ledger)
    await aio_ledger.ping()
    ledger.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await aio_ledger.run(cancel(record.call)) is None
    assert record.ending().reason == "CANCELLED"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_server_that_is_not_there_is_unavailable_within_a_bound(
    kind: str, tmp_path: Path
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0" if kind == "tcp" else f"unix://{tmp_path}/none"
    operation = accept(new_key(), new_call(), NOBODY, Push())
    began = time.monotonic()
    blocking, aio = BlockingLedger(url), Ledger(url)
    with pytest.raises(BackendUnavailable) as raised:
        blocking.run(operation)
    assert raised.value.retry_after_s is not None
    with pytest.raises(BackendUnavailable):
        await aio.run(operation)
    assert time.monotonic() - began < BOUND_S
    blocking.close()
    await aio.close()


def test_a_fault_of_our_own_is_not_taken_for_an_outage(ledger: BlockingLedger) -> None:
    call = new_key()
    ledger.redis.set(f"{call.partition}:call:{call}", "no hash")
    wrong: Operation[object] = cancel(call)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        ledger.run(wrong)


def test_a_server_that_is_full_is_unavailable(ledger: BlockingLedger) -> None:
    ledger.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(BackendUnavailable):
            accepted(ledger)
    finally:
        ledger.redis.config_set("maxmemory", 0)
