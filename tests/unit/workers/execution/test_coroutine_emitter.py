"""Storing the responses of a coroutine handler."""

from __future__ import annotations

import asyncio
from typing import Any

from forebay.compute.v1 import compute_pb2 as pb
from forebay.routes import Method
from forebay_backends.ledger.operations.attempts import Flow
from forebay_backends.ledger.seals import NO_SEALS
from forebay_workers.coroutines.call import CoroutineCall
from forebay_workers.coroutines.handlers import CoroutineHandler
from forebay_workers.execution.coroutine_durable import Emitter
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.operation_metadata import Metadata
from tests.unit.samples import CALL, METHODS
from tests.unit.workers.handler.test_operation_metadata import HALF, RENDER

WATCHED = Flow(watchers=1, read_count=0)


class SlowLedger:
    """A ledger whose first answers take longest; it notes what is stored: ordinals, fields."""

    seals = NO_SEALS

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.latest: list[tuple[object, object]] = []
        self.running = 0
        self.most_running = 0

    async def run(self, operation: Any) -> Flow:
        """Stores an item, after a few turns of the loop."""
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        for _ in range(5 - len(self.stored)):
            await asyncio.sleep(0)
        if operation.script == "attempts/emit_transient":
            _, _, field, _, payload = operation.arguments
            self.latest.append((field, payload))
        if operation.script == "attempts/emit":
            self.stored.append(int(operation.arguments[2]))
        self.running -= 1
        return WATCHED


def emitter(
    ledger: Any, window_bytes: int = 1 << 20, method: Method = METHODS["Factorial"]
) -> tuple[Emitter, CoroutineCall]:
    """An emitter, and the call that it is for."""

    async def send_initial(metadata: bytes) -> None:
        """Sends nothing."""

    async def handler(request: Any, context: Any) -> None:
        """Does nothing."""

    flow = FlowControl(window_bytes, 1 << 20)
    call = CoroutineCall(CALL, 1, metadata=(), timeout_s=None, flow=flow, send_initial=send_initial)
    return Emitter(ledger, CoroutineHandler(method, handler), call), call


async def emit(to: Emitter, digits: str = "1") -> None:
    response = pb.FactorialResponse(digits=digits)
    await to.emit(response, response.SerializeToString())


async def test_writes_of_several_tasks_are_stored_one_after_the_other() -> None:
    ledger = SlowLedger()
    to, _ = emitter(ledger)
    await asyncio.gather(*(emit(to) for _ in range(4)))
    assert (ledger.stored, ledger.most_running) == ([0, 1, 2, 3], 1)


async def test_a_write_that_is_cancelled_leaves_no_gap() -> None:
    ledger = SlowLedger()
    to, _ = emitter(ledger)
    writing = asyncio.create_task(emit(to))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])
    await emit(to)
    assert writing.cancelled()
    assert ledger.stored == [0, 1]


async def test_a_handler_waits_for_the_credit_of_its_caller() -> None:
    to, call = emitter(SlowLedger(), window_bytes=100)
    writing = asyncio.create_task(emit(to, "1" * 200))
    done, _ = await asyncio.wait([writing], timeout=0.05)
    assert not done
    await asyncio.to_thread(call.on_credit, 1)
    await asyncio.wait_for(writing, 30)


async def test_progress_is_published_and_gets_no_ordinal() -> None:
    ledger = SlowLedger()
    to, _ = emitter(ledger)
    progress = pb.FactorialResponse(progress=pb.Progress(fraction=0.5))
    await to.emit(progress, progress.SerializeToString())
    await emit(to)
    assert ledger.latest == [("transient", progress.SerializeToString())]
    assert ledger.stored == [0]


async def test_metadata_of_an_operation_is_kept_in_the_record() -> None:
    ledger = SlowLedger()
    to, _ = emitter(ledger, method=RENDER)
    await to.emit(Metadata(HALF), HALF.SerializeToString())
    assert ledger.latest == [("operation_metadata", HALF.SerializeToString())]
    assert ledger.stored == []
