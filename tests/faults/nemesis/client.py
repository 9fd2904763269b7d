"""Callers that follow one rule: call again with the id and the number of items received.

This is deliberately not Forebay's client. It does what a caller in any language can do
with a generated stub and metadata, on bytes, and records everything that happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Mapping, Sequence

import grpc
from google.longrunning.operations_pb2 import CancelOperationRequest

from forebay.metadata import ATTACHED, ATTEMPTS, CALL_ID, RESUME_FROM
from forebay.rpc_errors import of_rpc_error
from tests.faults.nemesis.history import Attach, Call, Viewer
from tests.faults.nemesis.plans import Plan

CHECK_TIMEOUT_S = 20.0
_CANCEL = "/google.longrunning.Operations/CancelOperation"
_CANCEL_TIMEOUT_S = 5.0
_SILENCE_S = (2.0, 8.0)
_PATIENT_S = 60.0
_PATIENT = 0.3
"""The share of callers that wait on at a silence: hanging up would hide a gateway that hangs."""
_RETRY_S = (0.05, 0.5)
_HOP = 0.01
"""The probability that a caller hangs up after an item, to continue on another gateway."""
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each client
    ("grpc.max_receive_message_length", -1),
)
_WROTE_TOO_LATE = "Internal error from Core"
"""grpc.aio's error for an RPC that the server ended while a request was being written."""
_Rpc = grpc.aio.StreamStreamCall[bytes, bytes]


class Client:
    """One program that makes calls, with a channel to each gateway."""

    def __init__(self, addresses: Mapping[str, str], seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated
        self._channels = {
            name: grpc.aio.insecure_channel(address, options=_OPTIONS)
            for name, address in addresses.items()
        }

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            await channel.close(None)

    async def view(self, plan: Plan, viewer: Viewer, give_up_s: float) -> None:
        """Calls, and calls again, until it knows how the call ended."""
        begun_s = time.monotonic()
        while time.monotonic() < give_up_s:
            gateway = self._chance.choice(list(self._channels))
            disconnects = None if plan.leave_after_s is None else begun_s + plan.leave_after_s
            attach = await self._attach(plan, viewer, gateway, plan.deadline_s, disconnects)
            if attach.final or not plan.kind.durable or _gives_up(attach):
                return
            if disconnects is not None and time.monotonic() > disconnects:
                return
            await asyncio.sleep(self._chance.uniform(*_RETRY_S))

    async def cancel(self, call: Call, give_up_s: float) -> None:
        """Cancels the call once it is accepted; records when it asked, and when it got a reply."""
        request = CancelOperationRequest(name=f"operations/{call.plan.id}").SerializeToString()
        while time.monotonic() < give_up_s:
            if call.accepted:
                call.cancel_asked_s = call.cancel_asked_s or time.monotonic()
                channel = self._channels[self._chance.choice(list(self._channels))]
                with contextlib.suppress(grpc.RpcError):
                    await channel.unary_unary(_CANCEL)(request, timeout=_CANCEL_TIMEOUT_S)
                    call.cancelled_s = time.monotonic()
                    return
            await asyncio.sleep(self._chance.uniform(*_RETRY_S))

    async def check(self, plan: Plan, gateway: str) -> Viewer:
        """Reads a call that has ended from the first item; request streams are empty."""
        viewer = Viewer()
        await self._attach(plan, viewer, gateway, CHECK_TIMEOUT_S, None, checks=True)
        return viewer

    async def _attach(
        self,
        plan: Plan,
        viewer: Viewer,
        gateway: str,
        timeout_s: float | None,
        leaving_s: float | None,
        *,
        checks: bool = False,
    ) -> Attach:
        attach = Attach(time.monotonic(), gateway, viewer.seen if plan.kind.streams else 0)
        viewer.attaches.append(attach)
        metadata = [(CALL_ID, plan.id)] if plan.kind.durable else []
        if attach.resume_from:
            metadata.append((RESUME_FROM, str(attach.resume_from)))
        requests = [] if checks and plan.kind.takes_stream else plan.requests()
        rpc: _Rpc = self._channels[gateway].stream_stream(plan.path)(
            _requests(requests), metadata=metadata, timeout=timeout_s
        )
        try:
            await self._read(rpc, attach, plan, leaving_s, hops=not checks)
        except grpc.RpcError as error:
            attach.code, attach.reason = rpc_ending(error)
            if attach.reason == _WROTE_TOO_LATE:
                attach.code = ""
        except (TimeoutError, asyncio.CancelledError):
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
        finally:
            rpc.cancel()
            attach.ended_s = time.monotonic()
        if not plan.kind.streams and attach.code != "OK":
            attach.items.clear()  # a unary response without a status does not count
        if attach.code:
            with contextlib.suppress(asyncio.CancelledError):
                attach.final = ATTEMPTS in dict(await rpc.trailing_metadata() or ())
        return attach

    async def _read(
        self, rpc: _Rpc, attach: Attach, plan: Plan, leaving_s: float | None, *, hops: bool
    ) -> None:
        """Reads to the end, or until the caller hangs up."""
        patient = not plan.kind.durable or self._chance.random() < _PATIENT
        silence_s = _PATIENT_S if patient else self._chance.uniform(*_SILENCE_S)
        initial = await _within(rpc.initial_metadata(), silence_s, leaving_s)
        attach.attached = str(dict(initial or ()).get(ATTACHED, ""))
        while True:
            item = await _within(rpc.read(), silence_s, leaving_s)
            if item is grpc.aio.EOF:
                attach.code = (await rpc.code()).name
                return
            attach.items.append(item)
            if hops and plan.kind.streams and self._chance.random() < _HOP:
                return


def rpc_ending(error: grpc.RpcError) -> tuple[str, str]:
    """The status and the reason, or gRPC's own message, of a failed RPC."""
    known = of_rpc_error(error)
    return known.code_name, known.reason or known.message


def _gives_up(attach: Attach) -> bool:
    """Whether a retry can't help: the deadline has passed, or the error is final."""
    return attach.code not in ("", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED")


async def _requests(requests: Sequence[bytes]):  # type: ignore[no-untyped-def]
    for number, request in enumerate(requests):
        if number:
            await asyncio.sleep(0.02)  # so that a fault may come between two
        yield request


async def _within(work: Awaitable, silence_s: float, leaving_s: float | None):  # type: ignore[no-untyped-def,type-arg]
    left_s = silence_s if leaving_s is None else max(0.0, leaving_s - time.monotonic())
    async with asyncio.timeout(min(silence_s, left_s)):
        return await work
