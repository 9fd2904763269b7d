"""Accepting durable calls in batches, with a fake ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import pytest

from forebay.compute.v1 import compute_pb2
from forebay.routes import read_methods
from forebay_backends.broker.redis import RedisBroker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.calls import NewCall
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_gateway.durable.accept import Acceptor
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from tests.contract.records import new_call

ADD = read_methods(compute_pb2.DESCRIPTOR.services_by_name.values())[0]
QUICK = Ending(State.SUCCEEDED, "", 1, 1, 0, 0, b"")
NEW: NewCall = new_call(queue=ADD.route.queue, task=ADD.route.task)


class Server:
    """A ledger that accepts all calls when `answer` returns."""

    def __init__(self) -> None:
        self.accepted: list[list[str]] = []
        self.answer: Callable[[], Coroutine[Any, Any, None]] = self.at_once

    async def at_once(self) -> None:
        pass

    async def run_with_push(self, operations: Sequence[Operation[Any]], push: Push) -> list[None]:
        self.accepted.append([str(operation.arguments[0]) for operation in operations])
        await self.answer()
        return [None for _ in operations]


class Site:
    """An acceptor for a queue with one slot."""

    def __init__(self) -> None:
        self.server = Server()
        ledger = cast(Ledger, self.server)
        self.acceptor = Acceptor(
            ledger,
            Pipeliner(ledger),
            RedisBroker(ledger, is_ledger=True),
            "channel",
            slots=lambda queue: 1,
            metrics=GatewayMetrics([NEW.method], is_on=False),
        )

    def accept(self, call: CallKey) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.acceptor.accept(call, ADD, NEW))

    async def accepted(self) -> list[list[str]]:
        """The calls that are accepted at once."""
        for _ in range(10):
            await asyncio.sleep(0)
        return self.server.accepted


@pytest.fixture
async def site() -> Site:
    """A site that has measured a short run time."""
    site = Site()
    await site.accept(CallKey("first"))
    site.acceptor.on_ended(CallKey("first"), QUICK)
    site.server.accepted.clear()
    return site


async def test_calls_are_batched_until_those_in_flight_have_ended(site: Site) -> None:
    a, b, c = (CallKey(name) for name in "abc")
    await site.accept(a)
    others = [site.accept(b), site.accept(c)]
    assert await site.accepted() == [[str(a)]]
    site.acceptor.on_ended(a, QUICK)
    await asyncio.gather(*others)
    assert site.server.accepted == [[str(a)], [str(b), str(c)]]


async def test_two_callers_with_one_id_delay_no_other_call_after_their_end(site: Site) -> None:
    a, b = CallKey("a"), CallKey("b")
    await asyncio.gather(site.accept(a), site.accept(a))
    for _ in range(2):
        site.acceptor.on_ended(a, QUICK)
    site.accept(b)
    assert (await site.accepted())[-1] == [str(b)]


async def test_a_call_whose_caller_disconnects_before_its_batch_is_sent_is_not_accepted(
    site: Site,
) -> None:
    a, b, c = (CallKey(name) for name in "abc")
    await site.accept(a)
    disconnecting, waiting = site.accept(b), site.accept(c)
    await site.accepted()
    disconnecting.cancel()
    await site.accepted()
    site.acceptor.on_ended(a, QUICK)
    await waiting
    assert site.server.accepted[-1] == [str(c)]


async def test_an_error_fails_the_calls_of_its_batch_only(site: Site) -> None:
    async def fail() -> None:
        raise ValueError("a bug")

    site.server.answer = fail
    with pytest.raises(ValueError, match="a bug"):
        await site.accept(CallKey("a"))
    site.server.answer = site.server.at_once
    await site.accept(CallKey("b"))
