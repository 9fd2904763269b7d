"""The attempts of one call, made on its targets: what `grpc` and `grpc.aio` have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import grpc

from forebay.metadata import ATTACHED
from forebay.resume.policy import ResumePolicy
from forebay.resume.request_replay import AsyncReplay, Replay
from forebay.rpc_errors import of_rpc_error

_log = logging.getLogger(__name__)


class Flag(Protocol):
    """An event, of `threading` or `asyncio`."""

    def is_set(self) -> bool:
        """Whether it was."""

    def set(self) -> None:
        """Wakes all that wait."""


class Attempts:
    """Makes each attempt with its target's own multi-callable.

    `left` is set where the caller leaves before the end; `stop` is told of the call then.
    """

    def __init__(
        self,
        resumption: ResumePolicy,
        multicallables: Sequence[Any],
        request: Any,
        options: Mapping[str, Any],
        *,
        left: Flag,
        stop: Callable[[ResumePolicy], None],
    ) -> None:
        self.resumption = resumption
        self.is_over = False
        self._multicallables = multicallables
        self._request = request
        self._options = options
        self._left = left
        self._stop = stop

    @property
    def is_left(self) -> bool:
        """Whether the caller wants no more of them."""
        return self._left.is_set()

    def begin(self, how: str = "__call__") -> Any:
        """Makes the next attempt: calls the multi-callable's method of that name."""
        attempt = self.resumption.attempt()
        request = self._request
        if isinstance(request, (Replay, AsyncReplay)):
            request = request.again() if attempt.sends_requests else iter(())
        return getattr(self._multicallables[attempt.target], how)(
            request, timeout=attempt.timeout_s, metadata=attempt.metadata, **self._options
        )

    def on_response(self, response: object) -> None:
        """A response has come."""
        self.resumption.on_response(response)
        if isinstance(self._request, (Replay, AsyncReplay)) and not self.resumption.sends_requests:
            self._request.release()

    def wait_s(self, failed: grpc.RpcError, initial_metadata: Any) -> float | None:
        """How long to wait before another attempt; None where there is to be none."""
        if self.is_left:
            return None
        error = of_rpc_error(failed)
        answered = ATTACHED in dict(initial_metadata or ())
        wait_s = self.resumption.on_failure(error, answered=answered)
        if wait_s is not None:
            _log.info("trying again in %.2g s: %s", wait_s, error)
        return wait_s

    def leave(self) -> None:
        """The caller goes; says so to the gateways, where the call has not ended."""
        if not (self.is_over or self.is_left):
            self._left.set()
            self._stop(self.resumption)
