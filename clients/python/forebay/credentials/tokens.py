"""Tokens of calls: `authorization: Bearer TOKEN`, fresh for each RPC."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import grpc

from forebay.credentials.ended_call import EndedCall
from forebay.errors import Unauthenticated
from forebay.errors.status import STATUS_DETAILS_KEY, to_status
from forebay.loopback import is_loopback
from forebay.metadata import GrpcMetadata, Pairs

AUTHORIZATION = "authorization"
NO_PROXY = (("grpc.enable_http_proxy", 0),)
"""Options of a channel in plain text with a token: a proxy from the environment would see it."""

Token: TypeAlias = str | Callable[[], str]
AsyncToken: TypeAlias = str | Callable[[], str | Awaitable[str]]

CallDetails: TypeAlias = Any
"""gRPC's `ClientCallDetails`, of `grpc` or of `grpc.aio`."""


class TokenError(Exception):
    """There is no token for a call; the message never shows one."""

    @property
    def trailing(self) -> Pairs:
        """The trailing metadata of the call's status, with the reason that a gateway would give."""
        status = to_status(Unauthenticated(str(self)))
        return ((STATUS_DETAILS_KEY, status.SerializeToString()),)


def check_token(
    token: AsyncToken | None, targets: Iterable[str], *, is_secure: bool, is_async: bool
) -> None:
    """Raises TypeError for another type, ValueError if others could read it on its way."""
    if token is None:
        return
    if not (isinstance(token, str) or callable(token)):
        raise TypeError(f"token is {type(token).__name__}; expected str, or a function of none")
    if inspect.iscoroutinefunction(token) and not is_async:
        raise TypeError("token is an async function, which only forebay.aio can call")
    if isinstance(token, str):
        _checked(token)
    exposed = [] if is_secure else [target for target in targets if not is_loopback(target)]
    if exposed:
        raise ValueError(
            f"a token for {', '.join(exposed)} needs TLS, or others could read it: pass "
            "credentials=grpc.ssl_channel_credentials(...)"
        )


class WithToken(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token to each RPC, unless its caller gave an `authorization`.

    Without a token, the RPC ends with UNAUTHENTICATED. gRPC's call credentials would do for TLS
    alone.
    """

    def __init__(self, token: Token) -> None:
        self._token = token

    def _intercept(
        self, continuation: Callable[..., Any], details: CallDetails, request: Any
    ) -> Any:
        if has_authorization(details.metadata):
            return continuation(details, request)
        began = time.monotonic()
        try:
            token = self._token if isinstance(self._token, str) else _called(self._token)
            return continuation(with_token(details, token, time.monotonic() - began), request)
        except TokenError as error:
            ended = EndedCall(grpc.StatusCode.UNAUTHENTICATED, str(error), error.trailing)
            ended.__cause__ = error.__cause__
            return ended

    intercept_unary_unary: Any = _intercept
    intercept_unary_stream: Any = _intercept
    intercept_stream_unary: Any = _intercept
    intercept_stream_stream: Any = _intercept


def has_authorization(metadata: GrpcMetadata | None) -> bool:
    return any(key in (AUTHORIZATION, AUTHORIZATION.encode()) for key, _ in metadata or ())


class _Details(
    NamedTuple(
        "_Details",
        [
            ("method", str),
            ("timeout", float | None),
            ("metadata", Any),
            ("credentials", Any),
            ("wait_for_ready", Any),
            ("compression", Any),
        ],
    ),
    grpc.ClientCallDetails,
):
    """A copy of gRPC's own class, which has no public constructor."""


def with_token(details: CallDetails, token: object, took_s: float) -> _Details:
    """The details of `grpc` with the token; what the token took is off the timeout."""
    timeout = details.timeout
    return _Details(
        details.method,
        None if timeout is None else max(0.0, timeout - took_s),
        (*(details.metadata or ()), (AUTHORIZATION, bearer(token))),
        details.credentials,
        details.wait_for_ready,
        details.compression,
    )


def bearer(token: object) -> str:
    """The value of the header. Raises TokenError for what is not a token."""
    try:
        return f"Bearer {_checked(token)}"
    except ValueError as error:
        raise TokenError(str(error)) from None


def failed(error: Exception) -> TokenError:
    """The error for an exception of a token's function; its text may have a secret."""
    problem = TokenError(f"the function for the token raised {type(error).__name__}")
    problem.__cause__ = error
    return problem


def _called(token: Callable[[], object]) -> object:
    try:
        return token()
    except Exception as error:
        raise failed(error) from error


def _checked(token: object) -> str:
    if inspect.iscoroutine(token):
        token.close()  # else Python would warn that nobody awaited it
    if not isinstance(token, str):
        raise ValueError(f"the token is {type(token).__name__}; expected str")
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("the token is empty, or has a blank or a character beyond ASCII")
    return token
