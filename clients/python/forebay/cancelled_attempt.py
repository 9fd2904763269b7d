"""What stands for an attempt where a caller cancels a call between two of them."""

from __future__ import annotations

from typing import Any

import grpc


def cancelled_attempt() -> Any:
    """One anew: it is raised, and a traceback is added to it."""
    return _CancelledAttempt()


class _CancelledAttempt(grpc.RpcError):
    """Answers as gRPC's own calls do that were cancelled."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return "Locally cancelled by application!"

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

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
