"""Tokens of calls over `grpc.aio`; see `tokens`."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from forebay.credentials.tokens import (
    AUTHORIZATION,
    AsyncToken,
    CallDetails,
    TokenError,
    bearer,
    failed,
    has_authorization,
)
from forebay.metadata import Pairs


def token_interceptors(token: AsyncToken) -> Sequence[grpc.aio.ClientInterceptor]:
    """Interceptors that add the token to each RPC; `grpc.aio` takes one for each kind of RPC."""
    return tuple(kind(token) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream))


class _WithToken:
    def __init__(self, token: AsyncToken) -> None:
        self._token = token

    async def _intercept(
        self, continuation: Callable[..., Any], details: CallDetails, request: Any
    ) -> Any:
        if has_authorization(details.metadata):
            return await continuation(details, request)
        began = time.monotonic()
        try:
            async with asyncio.timeout(details.timeout):
                value = bearer(await self._fresh())
        except TokenError as error:
            code = grpc.StatusCode.UNAUTHENTICATED
            raise _ended(code, str(error), error.trailing) from error.__cause__
        except TimeoutError as error:
            raise _ended(
                grpc.StatusCode.DEADLINE_EXCEEDED, "there was no token before the deadline"
            ) from error
        metadata = grpc.aio.Metadata(*(details.metadata or ()), (AUTHORIZATION, value))
        timeout = details.timeout
        if timeout is not None:
            timeout = max(0.0, timeout - (time.monotonic() - began))
        return await continuation(details._replace(metadata=metadata, timeout=timeout), request)

    async def _fresh(self) -> object:
        if isinstance(self._token, str):
            return self._token
        try:
            made = self._token()
            return await made if inspect.isawaitable(made) else made
        except Exception as error:
            raise failed(error) from error


class _UnaryUnary(_WithToken, grpc.aio.UnaryUnaryClientInterceptor):
    intercept_unary_unary: Any = _WithToken._intercept


class _UnaryStream(_WithToken, grpc.aio.UnaryStreamClientInterceptor):
    intercept_unary_stream: Any = _WithToken._intercept


class _StreamUnary(_WithToken, grpc.aio.StreamUnaryClientInterceptor):
    intercept_stream_unary: Any = _WithToken._intercept


class _StreamStream(_WithToken, grpc.aio.StreamStreamClientInterceptor):
    intercept_stream_stream: Any = _WithToken._intercept


def _ended(code: grpc.StatusCode, details: str, trailing: Pairs = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)
