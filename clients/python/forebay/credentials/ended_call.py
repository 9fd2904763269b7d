"""A call that ended before gRPC started it, with the methods of gRPC's own call objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import grpc

from forebay.metadata import Pairs


class EndedCall(grpc.RpcError):
    """A call that has ended with this status, and the exception that its methods raise.

    Each call needs its own instance, since raising it adds a traceback. It has the methods of a
    future, of a response stream, and of the outcome of a unary RPC.
    """

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Pairs = ()) -> None:
        super().__init__(details)
        self._code = code
        self._details = details
        self._trailing = trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> Any:
        return tuple(self._trailing)

    def debug_error_string(self) -> None:
        return None

    def is_active(self) -> bool:
        return False

    running = is_active

    def done(self) -> bool:
        return True

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def time_remaining(self) -> None:
        return None

    def result(self, timeout: float | None = None) -> Any:
        raise self

    def exception(self, timeout: float | None = None) -> Exception | None:
        return self

    def traceback(self, timeout: float | None = None) -> Any:
        return self.__traceback__

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False

    def add_done_callback(self, callback: Callable[[Self], None]) -> None:
        callback(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        raise self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.code()}, {self.details()}>"
