"""A stream can be resumed after any of its items, on any gateway, at any time.

The handler waits at a gate between two items, so that "while the call runs" does not depend on
timing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import ANNOUNCE_ABOVE_BYTES
from tests.contract.systems import backends_of
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse, EchoStatus, Gate
from tests.harness import eventually, short_folder

METHOD = "/tests.echo.v1.EchoService"
TIMEOUT_S = 60.0
LOST = ("DATA_LOSS", "ITEMS_LOST")
# Published whole, or announced and fetched: on both sides of the threshold, and at it (an
# item is 6 to 10 bytes larger than its padding).
SIZES = [0, 1, 1000, *range(ANNOUNCE_ABOVE_BYTES - 12, ANNOUNCE_ABOVE_BYTES - 2), 200_000]


@dataclass(frozen=True)
class Plan:
    """A stream: the sizes of its items, the index of the item after the gate, the status code."""

    sizes: tuple[int, ...]
    gate: int
    code: int

    @property
    def items(self) -> list[bytes]:
        """The stream's messages, serialized."""
        return [
            EchoResponse(text="x", index=index, padding=bytes(size)).SerializeToString()
            for index, size in enumerate(self.sizes)
        ]

    def request(self, gate: Path) -> bytes:
        """The request for the stream."""
        status = EchoStatus(code=self.code, message="the end") if self.code else None
        return EchoRequest(
            text="x", sizes=self.sizes, gate=Gate(path=str(gate), before=self.gate), status=status
        ).SerializeToString()


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    sizes = draw(st.lists(st.sampled_from(SIZES), max_size=12))
    return Plan(tuple(sizes), draw(st.integers(0, len(sizes))), draw(st.sampled_from([0, 0, 9])))


@dataclass(frozen=True)
class System:
    """Two gateways and a worker on one ledger."""

    addresses: tuple[str, str]
    ledger: BlockingLedger
    folder: Path

    def count(self, call_id: str) -> int:
        """How many items the call has yielded."""
        call = CallKey(call_id)
        count: Any = self.ledger.redis.hget(f"{call.partition}:call:{call}", "item_count")
        return int(count or 0)


@pytest.fixture(scope="module")
def system(backend: dict[str, str]) -> Iterator[System]:
    env = echo_environment(**backend)
    with ExitStack() as stack:
        addresses = [stack.enter_context(echo_gateway(env))[1] for _ in range(2)]
        stack.enter_context(echo_worker(env))
        ledger = BlockingLedger(backends_of(backend).ledger_url)
        stack.callback(ledger.close)
        folder = stack.enter_context(short_folder())
        yield System((addresses[0], addresses[1]), ledger, folder)


@dataclass
class Reader:
    """One RPC on a call, from an index on."""

    call: Any
    first: int

    async def whole(self) -> tuple[list[bytes], tuple[str, str, str], dict[str, Any]]:
        """Reads to the end: items, ending (code, reason, message) and trailing metadata."""
        items, ending = [], ("OK", "", "")
        try:
            async for item in self.call:
                items.append(item)
        except grpc.RpcError as raised:
            error = of_rpc_error(raised)
            ending = (error.code_name, error.reason, error.message)
        trailing = dict(await self.call.trailing_metadata() or ())
        return items, ending, {key: trailing.get(key) for key in trailing if "forebay" in key}

    async def attached(self) -> str:
        """The gateway's `forebay-attached`."""
        return str(dict(await self.call.initial_metadata() or ()).get("forebay-attached"))

    async def is_refused(self) -> bool:
        """Whether the RPC ends with ITEMS_LOST before any item."""
        items, ending, _ = await self.whole()
        return (items, ending[:2]) == ([], LOST)


class Scenario:
    """One call of a plan, and its readers."""

    def __init__(self, system: System, plan: Plan, channels: list[grpc.aio.Channel]) -> None:
        self.system, self.plan, self.channels = system, plan, channels
        self.id = f"resumed-{uuid.uuid4()}"
        self.gate = system.folder / self.id

    def reader(self, gateway: int, first: int) -> Reader:
        """An RPC on the gateway that resumes from the index."""
        call = self.channels[gateway].unary_stream(f"{METHOD}/ServerStream")
        metadata = (("forebay-call-id", self.id), ("forebay-resume-from", str(first)))
        return Reader(
            call(self.plan.request(self.gate), timeout=TIMEOUT_S, metadata=metadata), first
        )

    async def run(self) -> None:
        """Attaches at every index, before the gate opens and after the end."""
        plan = self.plan
        readers = [self.reader(0, 0)]
        assert await readers[0].attached() == "new"
        await asyncio.to_thread(
            eventually,
            lambda: self.system.count(self.id) == plan.gate,
            "it is at the gate",
        )
        readers += self.everywhere(range(plan.gate + 1))
        for reader in readers[1:]:
            assert await reader.attached() == "running"
        for reader in self.everywhere(range(plan.gate + 1, len(plan.sizes) + 2)):
            assert await reader.is_refused()
        self.gate.touch()
        times = await self.all_read_on(readers)
        later = self.everywhere(range(len(plan.sizes) + 1))
        assert await self.all_read_on(later) == times
        # Without an item, grpc.aio's client may process the status first and drop the metadata.
        attached = {await reader.attached() for reader in later if reader.first < len(plan.sizes)}
        assert attached <= {"finished"}
        beyond = [len(plan.sizes) + 1, len(plan.sizes) + 2, 10**14]
        for reader in self.everywhere(beyond):
            assert await reader.is_refused()

    def everywhere(self, indexes: Any) -> list[Reader]:
        """A reader from each index, on each gateway."""
        return [self.reader(gateway, first) for first in indexes for gateway in (0, 1)]

    async def all_read_on(self, readers: list[Reader]) -> dict[str, Any]:
        """Checks each reader's items and ending; returns the trailing metadata, which are equal."""
        ending = ("FAILED_PRECONDITION", "HANDLER_ABORTED", "the end")
        results = await asyncio.gather(*[reader.whole() for reader in readers])
        for reader, (items, end, times) in zip(readers, results, strict=True):
            assert items == self.plan.items[reader.first :], f"from {reader.first}"
            assert end == (ending if self.plan.code else ("OK", "", ""))
            assert times == results[0][2]
        assert results[0][2]["forebay-attempts"] == "1"
        return results[0][2]


async def holds(system: System, plan: Plan) -> None:
    channels = [grpc.aio.insecure_channel(address) for address in system.addresses]
    scenario = Scenario(system, plan, channels)
    try:
        await scenario.run()
    finally:
        scenario.gate.touch()  # the handler must not wait forever if the test failed
        for channel in channels:
            await channel.close()


@settings(
    max_examples=6,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@example(Plan((), 0, 0))
@example(Plan((0,) * 12, 12, 9))
@example(Plan((200_000, 0) * 6, 5, 0))
@given(plan=plans())
def test_a_stream_is_resumed_from_every_index(system: System, plan: Plan) -> None:
    asyncio.run(holds(system, plan))


async def test_an_empty_request_stream_resumes_from_every_index(system: System) -> None:
    requests = [EchoRequest(text=str(n), padding=n * 20_000).SerializeToString() for n in range(6)]
    metadata = (("forebay-call-id", f"resumed-{uuid.uuid4()}"),)
    async with (
        grpc.aio.insecure_channel(system.addresses[0]) as here,
        grpc.aio.insecure_channel(system.addresses[1]) as there,
    ):
        bidi = here.stream_stream(f"{METHOD}/Bidi")
        whole = [item async for item in bidi(iter(requests), timeout=TIMEOUT_S, metadata=metadata)]
        assert len(whole) == len(requests)
        for channel in (here, there):
            for first in range(len(whole) + 1):
                resume = (*metadata, ("forebay-resume-from", str(first)))
                call = channel.stream_stream(f"{METHOD}/Bidi")(timeout=TIMEOUT_S, metadata=resume)
                await call.done_writing()
                assert [item async for item in call] == whole[first:]


@pytest.mark.parametrize("method", ["Unary", "ClientStream"])
def test_a_unary_method_refuses_resume_from(system: System, method: str) -> None:
    """Nothing follows the only response, so the RPC is refused; the record is kept."""
    metadata = (("forebay-call-id", f"resumed-{uuid.uuid4()}"),)
    request = EchoRequest(text="x").SerializeToString()
    with grpc.insecure_channel(system.addresses[0]) as channel:
        call: Any = channel.unary_unary(f"{METHOD}/{method}")
        response = call(request, timeout=TIMEOUT_S, metadata=metadata)
        with pytest.raises(grpc.RpcError) as raised:
            call(request, timeout=TIMEOUT_S, metadata=(*metadata, ("forebay-resume-from", "1")))
        error = of_rpc_error(raised.value)
        assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        assert call(request, timeout=TIMEOUT_S, metadata=metadata) == response
