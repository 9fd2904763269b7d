"""Replaces the last attempt of a call whose status is not that of the attempt.

Its caller cancelled the call between two attempts, or `grpc.aio` cancelled the attempt.
"""

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


class AsyncEndedAttempt:
    """A call of `grpc.aio` that has ended; by default, because its caller cancelled it."""

    def __init__(
        self, code: grpc.StatusCode = grpc.StatusCode.CANCELLED, details: str = _DETAILS
    ) -> None:
        self._code = code
        self._details = details

    async def code(self) -> grpc.StatusCode:
        return self._code

    async def details(self) -> str:
        return self._details

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    trailing_metadata = initial_metadata

    async def debug_error_string(self) -> None:
        return None

    def cancelled(self) -> bool:
        return self._code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._code}>"
