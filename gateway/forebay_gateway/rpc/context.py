"""The interface between the fronts and the code behind them: what a handler knows of its RPC.

A front (see `fronts/`) receives RPCs. It finds the `Handler` of a path and gives it a `Context`.
Fronts know nothing of calls, ledgers and routes; the code behind them does not know which front
received an RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc

from forebay.metadata import Pairs
from forebay_gateway.identity.principal import Principal


class Context(Protocol):
    """One RPC: a subset of `grpc.aio.ServicerContext`, with messages as bytes.

    If the caller disconnects, cancels or reaches its deadline, the front cancels the task that
    runs the handler. After that, methods that send something raise CancelledError.
    """

    principal: Principal
    """The caller; the guard sets it. `NOBODY` before that, and if authentication is off."""

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that runs the handler, which asks for it."""

    @property
    def code(self) -> grpc.StatusCode | None:
        """The status that the RPC was ended with.

        None until then, and if the front knows no status, for example after a disconnect.
        """

    def peer(self) -> str:
        """The caller's address, as gRPC writes it: `ipv4:10.0.0.7:50312`, `unix:`."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """gRPC's properties of a secure connection, such as `x509_subject_alternative_name`.

        Empty for a connection without TLS.
        """

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """The caller's metadata in its order, without gRPC's own; bytes under `-bin`."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, 0 after it; None without one."""

    async def arrival(self) -> None:
        """Returns when a request, or its first part, has arrived, or the caller sends no more.

        Until `read` is called, at most HTTP/2's window arrives. Returns at once if the front can't
        tell what has arrived.
        """

    async def read(self) -> object:
        """The next request as bytes; `grpc.aio.EOF` if the caller sends no more.

        One task reads at a time. If the caller disconnects, the task is cancelled and gets no EOF.
        A read that is cancelled loses no message.
        """

    def read_now(self) -> bytes | None:
        """The next request if it has arrived; None if `read` may have to wait, or would return EOF.

        Most unary requests arrive with the headers, so handlers can read them without a timeout.
        """

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        """Sends the initial metadata; the first message would otherwise send an empty one."""

    async def write(self, message: bytes) -> None:
        """Sends a response; waits while the caller reads too slowly."""

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        """Sets what goes out with the status."""

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        """Ends the RPC with the status; raises `grpc.aio.AbortError`, to be passed on.

        Raises CancelledError if the front has to wait for the caller to read, and it reads too
        slowly.
        """


Serve = Callable[[Context], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Handler:
    """Serves the RPCs of one method.

    `serve` reads all requests from the context, even a unary one, since a caller may never send it.
    If `serve` returns normally, the status is OK.
    """

    serve: Serve
    streams_responses: bool
    """`serve` writes the responses to the context. Otherwise it returns the only one."""


FindHandler = Callable[[str], Handler]
"""Returns the handler for a path such as `/package.Service/Method`, even for an unknown path."""
