"""A context that delegates to another one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import grpc

from forebay.metadata import Pairs
from forebay_gateway.identity.principal import Principal
from forebay_gateway.rpc.context import Context


class ContextWrapper:
    """Delegates `Context` to another one; subclasses override some of its methods."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def code(self) -> grpc.StatusCode | None:
        return self._context.code

    def peer(self) -> str:
        return self._context.peer()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._context.auth_context()

    @property
    def principal(self) -> Principal:
        return self._context.principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        self._context.principal = principal

    @property
    def task(self) -> asyncio.Task[Any] | None:
        return self._context.task

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        return self._context.invocation_metadata()

    def time_remaining(self) -> float | None:
        return self._context.time_remaining()

    async def arrival(self) -> None:
        await self._context.arrival()

    async def read(self) -> object:
        return await self._context.read()

    def read_now(self) -> bytes | None:
        return self._context.read_now()

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        await self._context.send_initial_metadata(pairs)

    async def write(self, message: bytes) -> None:
        await self._context.write(message)

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        self._context.set_trailing_metadata(pairs)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        await self._context.abort(code, details, trailing_metadata)
