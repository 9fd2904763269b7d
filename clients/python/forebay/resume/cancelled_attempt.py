"""Replaces the attempt of a call that its caller cancels between two attempts."""

from __future__ import annotations

from typing import Any

import grpc

from forebay.credentials.ended_call import EndedCall

_DETAILS = "Locally cancelled by application!"
"""gRPC's own details for a call that its caller cancelled."""


class CancelledAttempt(EndedCall):
    """Behaves like gRPC's own cancelled call."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.CANCELLED, _DETAILS)

    def cancelled(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        raise grpc.FutureCancelledError

    exception = traceback = result


class AsyncCancelledAttempt:
    """Like CancelledAttempt, for `grpc.aio`."""

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
