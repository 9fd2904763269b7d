"""Exceptions that end a handler although it has not failed."""

from __future__ import annotations

import grpc

from forebay.errors import ForebayError


class Aborted(Exception):
    """Raised by `context.abort`; the context has the status."""


class Interrupted(Exception):
    """Ends a handler that has not failed; raised from its requests, or where it yields."""


class Stopped(Interrupted, grpc.RpcError):
    """The call is over. An RpcError, as `grpc.server` raises it from the request iterator."""


class Refused(Interrupted):
    """A request or response violates the contract or a limit."""

    def __init__(self, error: ForebayError) -> None:
        super().__init__(str(error))
        self.error = error
