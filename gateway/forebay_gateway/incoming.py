"""A call as it comes in: what the caller asks for, and its requests, checked."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from forebay.checks import Check
from forebay.deadline import Deadline
from forebay.errors import TooLarge
from forebay.routes import Method
from forebay_gateway.metadata import Wishes
from forebay_gateway.status import parsed

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
Requests: TypeAlias = AsyncIterator[bytes]


@dataclass(frozen=True)
class Incoming:
    """A call that was not accepted yet.

    `first` is None where the request stream is empty; `rest` are the further
    requests, and raises a `ForebayError` where one, or the end, is wrong.
    """

    method: Method
    wishes: Wishes
    deadline: Deadline
    first: bytes | None
    rest: Requests

    @property
    def digest(self) -> str:
        """What tells calls apart that have one id: the SHA-256 of the first request."""
        return hashlib.sha256(self.first or b"").hexdigest()


async def receive(
    method: Method,
    wishes: Wishes,
    deadline: Deadline,
    requests: Requests,
    check: Check,
    max_message_bytes: int,
) -> Incoming:
    """Reads and checks the first request; raises a `ForebayError` where it is wrong.

    An empty request stream under a caller's id may be an attachment: it is passed on.
    """
    checked = _checked(method, requests, check, max_message_bytes)
    attaching = wishes.call_id is not None
    first = await anext(requests, None) if attaching else await anext(checked, None)
    if attaching and first is not None:
        _check(method, first, check, max_message_bytes)
    if not method.client_streaming:
        await anext(checked, None)  # the end of the one request is checked too
    return Incoming(method, wishes, deadline, first, checked)


async def _checked(
    method: Method, requests: Requests, check: Check, max_message_bytes: int
) -> Requests:
    async for request in requests:
        _check(method, request, check, max_message_bytes)
        yield request
    check.end()


def _check(method: Method, request: bytes, check: Check, max_message_bytes: int) -> None:
    if len(request) > max_message_bytes:
        raise TooLarge(
            f"a request message of {len(request)} bytes is over "
            f"this server's limit of {max_message_bytes}"
        )
    check.feed(parsed(method.request_class, request))
