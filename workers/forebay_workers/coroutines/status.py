"""The status and trailing metadata that a coroutine handler sets. Pure.

The rules are those of `grpc.aio`: a code may be a number, details are text, and an abort is final.
"""

from __future__ import annotations

from typing import Any

import grpc

from forebay.v1 import call_pb2
from forebay_workers.handler.status import UNKNOWN, HandlerStatus

_CODES = {code.value[0] for code in grpc.StatusCode}


class CoroutineStatus(HandlerStatus):
    """What `set_code`, `set_details`, `set_trailing_metadata` and `abort` of the context set."""

    def __init__(self) -> None:
        super().__init__()
        self._has_code = False
        self._aborted_with: call_pb2.Outcome | None = None

    def set_code(self, code: object) -> None:
        """Unlike in `grpc.server`, None is UNKNOWN, not OK."""
        self.code, self._has_code = code, True

    @property
    def is_aborted(self) -> bool:
        """Whether the status is final."""
        return self._aborted_with is not None

    @property
    def text(self) -> str:
        """The details as the handler has set them; empty before."""
        return "" if self.details is None else self.details.decode(errors="replace")

    @property
    def pairs(self) -> tuple[Any, ...]:
        """The trailing metadata as the handler has set it; empty before."""
        return tuple(self.trailing or ())

    @property
    def number(self) -> int:
        """The code as a number; UNKNOWN for anything that is not a code."""
        if self.code is None:
            return UNKNOWN if self._has_code or self._aborted else 0
        if isinstance(self.code, grpc.StatusCode):
            return int(self.code.value[0])
        return self.code if isinstance(self.code, int) and self.code in _CODES else UNKNOWN

    def abort(
        self, code: object, details: str | bytes, trailing: tuple[Any, ...] | None = None
    ) -> None:
        """Sets the final status; empty details and metadata leave those that were set before."""
        super().abort(code, details or self.details or "")
        if trailing:
            self.set_trailing(trailing)
        self._aborted_with = super().outcome()

    def outcome(self, failure: call_pb2.Outcome | None = None) -> call_pb2.Outcome:
        """Returns the status of the abort, if there was one, whatever was set or raised later."""
        return self._aborted_with or super().outcome(failure)
