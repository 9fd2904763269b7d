"""The context that a coroutine handler receives: a complete `grpc.aio.ServicerContext`.

A handler written for `grpc.aio.server` runs unchanged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio

from forebay.metadata import GrpcMetadata, from_pairs
from forebay_workers.coroutines.call import CoroutineCall
from forebay_workers.handler.context import Metadatum
from forebay_workers.handler.interrupted import Aborted, Stopped

_FINISHED = "RPC already finished."


class CoroutineAborted(Aborted, grpc.aio.AbortError):
    """What `abort` raises, as in `grpc.aio`; handlers must not catch it."""


class Reader(Protocol):
    """Reads the call's requests."""

    async def read(self) -> Any:
        """The next request; `grpc.aio.EOF` after the last."""


class CoroutineContext(grpc.aio.ServicerContext[Any, Any]):
    """Methods for the handler; its state is in a `CoroutineCall`.

    The worker passes what fits the method: `reader` has the requests of a stream (a single request
    is an argument of the handler), and `write` sends a response of a stream.
    """

    def __init__(
        self, call: CoroutineCall, reader: Reader, write: Callable[[Any], Awaitable[None]]
    ) -> None:
        self._call = call
        self._reader = reader
        self._write = write
        self._aborted: CoroutineAborted | None = None

    def raise_if_over(self) -> None:
        """Raises what `grpc.aio` raises after an abort, and when the handler has returned."""
        if self._aborted is not None:
            raise self._aborted
        if self._call.stopped is not None:
            raise Stopped
        if self._call.has_finished():
            raise grpc.aio.UsageError(_FINISHED)

    async def read(self) -> Any:
        """The next request; `grpc.aio.EOF` after the last, and of a method with one request."""
        self.raise_if_over()
        request = await self._reader.read()
        self.raise_if_over()
        return request

    async def write(self, message: Any) -> None:
        """Sends a response; waits while the caller is too far behind."""
        self.raise_if_over()
        await self._write(message)

    async def send_initial_metadata(self, initial_metadata: GrpcMetadata) -> None:
        """Sends initial metadata, once, before the first response."""
        self.raise_if_over()
        if self._call.initial_is_sent:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        metadata = from_pairs(tuple(initial_metadata))
        self._call.response_started()
        await self._call.send_initial_to_caller(metadata.SerializeToString())

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> NoReturn:
        """Ends the call with a status, whatever the handler does afterwards."""
        if self._aborted is not None:
            raise grpc.aio.UsageError("Abort already called!")
        if not isinstance(trailing_metadata, tuple):
            kind = type(trailing_metadata).__name__
            raise TypeError(f"trailing_metadata is {kind}; expected a tuple")
        self._aborted = CoroutineAborted("Locally aborted.")
        _check_trailing(trailing_metadata)
        self._call.status.abort(code, _text(details), trailing_metadata)
        raise self._aborted

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Like `abort`, with a status object."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Raises TypeError or ValueError for metadata that gRPC can't send."""
        _check_trailing(trailing_metadata)
        self._call.status.set_trailing(tuple(trailing_metadata))

    def trailing_metadata(self) -> Any:
        """The trailing metadata set so far; empty if there are none."""
        return self._call.status.pairs

    # grpc.aio.server returns a tuple, too.
    def invocation_metadata(self) -> tuple[Metadatum, ...]:  # type: ignore[override]
        """The call's id and the request metadata that the route passes on."""
        return self._call.invocation_metadata()

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status that the call ends with."""
        self._call.status.set_code(code)

    def code(self) -> Any:
        """The code that the handler has set; None before."""
        return self._call.status.code

    def set_details(self, details: str) -> None:
        """Sets the message of the status; raises TypeError for anything but text."""
        self._call.status.set_details(_text(details))

    def details(self) -> str:
        """The message that the handler has set; empty before."""
        return self._call.status.text

    def set_compression(self, compression: grpc.Compression) -> None:
        """No effect: the gateway does not compress responses."""

    def disable_next_message_compression(self) -> None:
        """No effect: the gateway does not compress responses."""

    def peer(self) -> str:
        """The call's key: the ledger does not keep the caller's address."""
        return self._call.peer()

    def peer_identities(self) -> Any:
        """The caller's subject; None where authentication is off."""
        return self._call.peer_identities()

    def peer_identity_key(self) -> str | None:
        """The key of `peer_identities` in `auth_context`; None where authentication is off."""
        return self._call.peer_identity_key()

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """The caller's tenant, subject, roles and issuer; empty where it is not known."""
        return self._call.auth_context()

    # grpc.aio.server returns None, too, without a deadline.
    def time_remaining(self) -> float | None:  # type: ignore[override]
        """The seconds until the deadline; None without one."""
        return self._call.seconds_left

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls `callback` with this context when the handler has ended."""
        self._call.add_done_callback(partial(callback, self))

    def done(self) -> bool:
        """Whether the call is over: its handler has ended, it was aborted, or it was stopped."""
        return (
            self._aborted is not None or self._call.stopped is not None or self._call.has_finished()
        )

    def cancelled(self) -> bool:
        """Whether the caller has cancelled, or the code is CANCELLED."""
        is_cancelled = self._call.stopped is not None and not self._call.is_expired
        return is_cancelled or self._call.status.number == grpc.StatusCode.CANCELLED.value[0]


def _text(details: Any) -> str:
    if details is None:
        return ""
    if not isinstance(details, str):
        raise TypeError(f"details are {type(details).__name__}; expected str")
    return details


def _check_trailing(metadata: Any) -> None:
    """Accepts what `grpc.aio` accepts: any iterable of tuples except a dict."""
    if isinstance(metadata, dict) or not hasattr(metadata, "__iter__"):
        raise TypeError(f"trailing metadata is {metadata!r}; expected tuples of key and value")
    for pair in metadata:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(f"trailing metadata has {pair!r}; expected tuples of key and value")
