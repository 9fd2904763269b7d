"""Pages of calls, put together from all partitions; each is a bounded amount of work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from google.longrunning import operations_pb2 as pb

from forebay.routes import Method
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.inspection import (
    Cursor,
    Description,
    Listed,
    describe,
    list_calls,
)
from forebay_gateway.admin.filters import Filter
from forebay_gateway.admin.operation_messages import operation_of
from forebay_gateway.admin.pages import merged

_BYTES_OF_A_LISTED_ITEM = 4096
_BYTES_OF_A_PAGE = 1 << 20  # clients take 4 MiB unless told otherwise
_DESCRIBED_A_ROUND_TRIP = 50
# For a page that is filtered, so many calls of each partition are looked at, so often.
_STRETCH = 64
_MOST_ROUNDS = 16


class Listings:
    """Lists the calls of one owner."""

    def __init__(self, ledger: Ledger, methods: Mapping[str, Method], owner: str) -> None:
        self._ledger = ledger
        self._methods = methods
        self._owner = owner

    async def page(
        self, wanted: Filter, after: Cursor | None, size: int
    ) -> tuple[list[pb.Operation], Cursor | None]:
        """Up to `size` calls after a place, newest first, and where the next page starts.

        The latter is None where this is the last page.
        """
        found, read_to = await self._find(wanted, after, size)
        return await self._tell(wanted, found, read_to)

    async def _find(
        self, wanted: Filter, after: Cursor | None, size: int
    ) -> tuple[list[Listed], Cursor | None]:
        """Calls that are wanted, and how far was read (None: to the end); bounded work."""
        found: list[Listed] = []
        stretch = _STRETCH if wanted.tests else size // PARTITIONS * 2 + 8
        for _ in range(_MOST_ROUNDS):
            calls, read_to = merged(
                await self._ledger.run_all(
                    [list_calls(n, after, wanted.oldest_ms, stretch) for n in range(PARTITIONS)]
                )
            )
            for number, one in enumerate(calls, start=1):
                if one.call.owner == self._owner and wanted.matches(one):
                    found.append(one)
                    if len(found) == size:
                        is_last = number == len(calls) and read_to is None
                        return found, None if is_last else one.cursor
            after = read_to
            if after is None:
                break
        return found, after

    async def _tell(
        self, wanted: Filter, found: list[Listed], read_to: Cursor | None
    ) -> tuple[list[pb.Operation], Cursor | None]:
        """The calls' operations, as many as a message should hold, and how far that is."""
        operations: list[pb.Operation] = []
        held = 0
        for start in range(0, len(found), _DESCRIBED_A_ROUND_TRIP):
            chunk = found[start : start + _DESCRIBED_A_ROUND_TRIP]
            descriptions = await self._ledger.run_all(
                [describe(one.call, _BYTES_OF_A_LISTED_ITEM) for one in chunk]
            )
            for one, told in zip(chunk, descriptions, strict=True):
                if isinstance(told, Refused) or not wanted.matches(_now(one, told)):
                    continue  # it went on since the index was read
                operation = operation_of(one.call, told, self._methods)
                operations.append(operation)
                held += operation.ByteSize()
                if held > _BYTES_OF_A_PAGE and one is not found[-1]:
                    return operations, one.cursor
        return operations, read_to


def _now(listed: Listed, told: Description) -> Listed:
    return replace(listed, state=told.state, begun_ms=told.begun_ms, finished_ms=told.finished_ms)
