"""The seam between the fronts and everything behind them: what a handler knows of its RPC.

A front receives RPCs: `fronts/` has them. It finds the `Handler` of a path, and gives it a
`Context`. Fronts know nothing of calls, ledgers and routes; nothing behind them knows by which
front an RPC came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

import grpc

from forebay.metadata import Pairs
from forebay_gateway.identity.principal import Principal


class Context(Protocol):
    """One RPC: a part of `grpc.aio.ServicerContext`, whose messages are bytes.

    Where the caller disconnects, cancels or reaches its deadline, the front cancels the task that
    runs the handler. Whatever would send something after that raises CancelledError.
    """

    @property
    def code(self) -> grpc.StatusCode | None:
        """The status that the RPC was ended with.

        None until then, and where the front knows none, as after a disconnect.
        """

    def peer(self) -> str:
        """The caller's address, as gRPC writes it: `ipv4:10.0.0.7:50312`, `unix:`."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """gRPC's properties of a secure connection, such as `x509_subject_alternative_name`.

        Empty for a connection without TLS.
        """

    @property
    def principal(self) -> Principal:
        """Who calls; `NOBODY` until the guard has found out, and where authentication is off."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """The caller's metadata in its order, without gRPC's own; bytes under `-bin`."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, 0 after it; None without one."""

    async def arrival(self) -> None:
        """Returns when a request, or the first part of one, is here, or no more come.

        Until `read`, no more than HTTP/2's window arrives. Returns at once where the front does
        not know what has arrived.
        """

    async def read(self) -> object:
        """The next request, bytes; `grpc.aio.EOF` where the caller sends no more.

        One task reads at a time. A caller that broke off is no end: the task is cancelled. A
        read that is cancelled loses no message.
        """

    def read_now(self) -> bytes | None:
        """The next request if it is here; None if `read` may have to wait, or is to find the end.

        Most unary requests arrive with the headers: their handlers need no timeouts to read them.
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
        """Ends the RPC with the status; raises `grpc.aio.AbortError`, to be passed on."""


Serve = Callable[[Context], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Handler:
    """Serves the RPCs of one method.

    `serve` reads the requests from the context, a unary one as well: a caller may never send it.
    Where it returns normally, the status is OK.
    """

    serve: Serve
    streams_responses: bool
    """`serve` writes the responses to the context. Otherwise it returns the only one."""


FindHandler = Callable[[str], Handler]
"""Returns the handler for a path, such as `/package.Service/Method`; for any path, there is one."""
