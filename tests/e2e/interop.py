"""A common interface to gRPC's two Python stubs, for calls of all kinds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import grpc
import pytest

from forebay_gateway.durable.response_writer import HOLD_INITIAL_METADATA_S
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

T = TypeVar("T")
Metadata = tuple[tuple[str, str | bytes], ...]

_METHODS = echo_pb2.DESCRIPTOR.services_by_name["EchoService"].methods_by_name


@dataclass
class Answer:
    """Everything that a caller receives from a call."""

    responses: list[Any] = field(default_factory=list)
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    initial: dict[str, Any] = field(default_factory=dict)
    trailing: dict[str, Any] = field(default_factory=dict)

    @property
    def response(self) -> Any:
        """The only response of a call that succeeded."""
        assert (self.code, len(self.responses)) == (grpc.StatusCode.OK, 1), self
        return self.responses[0]

    def ended(self, call: Any, initial: Any, trailing: Any) -> Answer:
        """The same answer with metadata and status."""
        self.initial, self.trailing = dict(initial or ()), dict(trailing or ())
        return self


TRIES = 50
"""How many calls a test makes until one is quick."""


def was_quick(trailing: Mapping[str, Any]) -> bool:
    """Whether the handler's initial metadata still reached the caller: the gateway waits 0.1 s.

    True of a `grpc.server`, which sends no times and always waits.
    """
    took_ms = sum(int(trailing.get(key, 0)) for key in ("forebay-queue-ms", "forebay-run-ms"))
    return took_ms < HOLD_INITIAL_METADATA_S * 1000 / 2


def first_quick(make: Callable[[], T], trailing: Callable[[T], Mapping[str, Any]]) -> T:
    """Makes calls until one `was_quick`, and returns that."""
    for _ in range(TRIES):
        made = make()
        if was_quick(trailing(made)):
            return made
    pytest.fail("no call was quick enough")


class Caller(Protocol):
    """Makes whole calls."""

    def call(
        self,
        method: str,
        requests: Iterable[Any],
        metadata: Metadata = (),
        timeout: float = 30.0,
        compression: grpc.Compression | None = None,
    ) -> Answer:
        """Sends the requests, and reads until the call has ended."""

    def ping_pong(self, method: str, requests: Iterable[Any], metadata: Metadata = ()) -> Answer:
        """Sends each request when the response to the previous one has arrived."""


class SyncCaller:
    """The blocking stub."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._stub = EchoServiceStub(self._channel)

    def call(
        self,
        method: str,
        requests: Iterable[Any],
        metadata: Metadata = (),
        timeout: float = 30.0,
        compression: grpc.Compression | None = None,
    ) -> Answer:
        """See `Caller`."""
        answer, descriptor = Answer(), _METHODS[method]
        multicallable = getattr(self._stub, method)
        start = multicallable if descriptor.server_streaming else multicallable.future
        argument = _argument(requests, streaming=descriptor.client_streaming)
        call = start(argument, timeout=timeout, metadata=metadata, compression=compression)
        try:
            for response in call if descriptor.server_streaming else _once(call):
                answer.responses.append(response)
        except grpc.RpcError:
            answer.code, answer.details = call.code(), call.details()
        return answer.ended(call, call.initial_metadata(), call.trailing_metadata())

    def ping_pong(self, method: str, requests: Iterable[Any], metadata: Metadata = ()) -> Answer:
        """See `Caller`."""
        answer, pings = Answer(), SimpleQueue[Any]()
        call = getattr(self._stub, method)(iter(pings.get, None), timeout=30.0, metadata=metadata)
        try:
            for request in requests:
                pings.put(request)
                answer.responses.append(next(call))
            pings.put(None)
            answer.responses += call
        except grpc.RpcError:
            answer.code, answer.details = call.code(), call.details()
        finally:
            pings.put(None)
        return answer.ended(call, call.initial_metadata(), call.trailing_metadata())

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class AioCaller:
    """The stub of asyncio."""

    def __init__(self, address: str) -> None:
        self._address = address

    def call(
        self,
        method: str,
        requests: Iterable[Any],
        metadata: Metadata = (),
        timeout: float = 30.0,
        compression: grpc.Compression | None = None,
    ) -> Answer:
        """See `Caller`."""

        async def whole() -> Answer:
            async with grpc.aio.insecure_channel(self._address) as channel:
                argument = _argument(requests, streaming=_METHODS[method].client_streaming)
                start = getattr(EchoServiceStub(channel), method)
                return await _read(
                    start(argument, timeout=timeout, metadata=metadata, compression=compression),
                    streaming=_METHODS[method].server_streaming,
                )

        return asyncio.run(whole())

    def ping_pong(self, method: str, requests: Iterable[Any], metadata: Metadata = ()) -> Answer:
        """See `Caller`."""

        async def whole() -> Answer:
            answer = Answer()
            async with grpc.aio.insecure_channel(self._address) as channel:
                call = getattr(EchoServiceStub(channel), method)(timeout=30.0, metadata=metadata)
                for request in requests:
                    await call.write(request)
                    answer.responses.append(await call.read())
                await call.done_writing()
                assert await call.read() is grpc.aio.EOF
                answer.code, answer.details = await call.code(), await call.details()
                initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
            return answer.ended(call, initial, trailing)

        return asyncio.run(whole())

    def close(self) -> None:
        """Does nothing: no channel is open between calls."""


async def _read(call: Any, *, streaming: bool) -> Answer:
    answer = Answer()
    try:
        if streaming:
            async for response in call:
                answer.responses.append(response)  # one by one: what came before a failure stays
        else:
            answer.responses.append(await call)
    except grpc.RpcError:
        answer.code, answer.details = await call.code(), await call.details()
    return answer.ended(call, await call.initial_metadata(), await call.trailing_metadata())


def _argument(requests: Iterable[Any], *, streaming: bool) -> Any:
    if streaming:
        return iter(requests)
    (request,) = requests
    return request


def _once(future: Any) -> Iterator[Any]:
    yield future.result()


def durable() -> Metadata:
    """Metadata with a caller's own id, which gives the call a record in the ledger."""
    return (("forebay-call-id", f"interop-{uuid.uuid4()}"),)


def ephemeral() -> Metadata:
    """Metadata without an id: a call of an ephemeral route stays in the gateway's memory."""
    return ()


KINDS: Sequence[Any] = (durable, ephemeral)
