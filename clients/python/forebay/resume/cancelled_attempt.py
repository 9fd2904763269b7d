"""Takes the place of an attempt if the caller cancels the call between two attempts."""

from __future__ import annotations

from typing import Any

import grpc

_DETAILS = "Locally cancelled by application!"
"""The details of calls of gRPC's own that their caller cancelled."""


class CancelledAttempt(grpc.RpcError):
    """Behaves as a cancelled call of gRPC's own. Raising it adds a traceback: never share one."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return _DETAILS

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def debug_error_string(self) -> None:
        return None

    def is_active(self) -> bool:
        return False

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return True

    def result(self) -> Any:
        raise grpc.FutureCancelledError

    exception = traceback = result

    def __next__(self) -> Any:
        raise self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.code()}, {self.details()}>"


class AsyncCancelledAttempt:
    """As CancelledAttempt, for `grpc.aio`."""

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    async def details(self) -> str:
        return _DETAILS

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    trailing_metadata = initial_metadata

    async def debug_error_string(self) -> None:
        return None

    def cancelled(self) -> bool:
        return True

    def done(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {grpc.StatusCode.CANCELLED}>"
