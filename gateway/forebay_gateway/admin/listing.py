"""Lists calls in pages, merged from all partitions; the work for one page is bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from google.longrunning import operations_pb2 as pb

from forebay.routes import Method
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, CallKey
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

_MAX_LISTED_ITEM_BYTES = 4096
_MAX_PAGE_BYTES = 1 << 20  # gRPC clients accept messages up to 4 MiB by default
_DESCRIPTIONS_PER_ROUND_TRIP = 50
# A filtered page reads at most this many calls of each partition, in this many rounds.
_FILTERED_SCAN_SIZE = 64
_MAX_SCANS = 16


class Listing:
    """Lists the calls of a tenant, or of all."""

    def __init__(self, ledger: Ledger, methods: Mapping[str, Method]) -> None:
        self._ledger = ledger
        self._methods = methods

    async def page(
        self,
        owner: str | None,
        caller: str,
        wanted: Filter,
        after: Cursor | None,
        size: int,
        *,
        with_call_metadata: bool = False,
    ) -> tuple[list[pb.Operation], Cursor | None]:
        """Up to `size` calls of the owner after a cursor, newest first, and the next page's cursor.

        The next cursor is None after the last page. `owner` is None for all calls. The operations
        have the names that a caller of the tenant `caller` uses for them.
        """
        found, read_to = await self._scan(owner, wanted, after, size)

        def shown(call: CallKey, description: Description) -> pb.Operation:
            return operation_of(
                *(call, caller, description, self._methods), with_call_metadata=with_call_metadata
            )

        return await self._describe(shown, wanted, found, read_to)

    async def _scan(
        self, owner: str | None, wanted: Filter, after: Cursor | None, size: int
    ) -> tuple[list[Listed], Cursor | None]:
        """The calls that match, and the cursor up to which was read (None: to the end)."""
        found: list[Listed] = []
        scan_size = _FILTERED_SCAN_SIZE if wanted.tests else size // PARTITIONS * 2 + 8
        for _ in range(_MAX_SCANS):
            calls, read_to = merged(
                await self._ledger.run_all(
                    [
                        list_calls(n, after, wanted.oldest_ms, scan_size, owner or "")
                        for n in range(PARTITIONS)
                    ]
                )
            )
            for number, one in enumerate(calls, start=1):
                # Calls without an owner have no index of their own.
                if owner in (None, one.call.owner) and wanted.matches(one):
                    found.append(one)
                    if len(found) == size:
                        is_last = number == len(calls) and read_to is None
                        return found, None if is_last else one.cursor
            after = read_to
            if after is None:
                break
        return found, after

    async def _describe(
        self,
        shown: Callable[[CallKey, Description], pb.Operation],
        wanted: Filter,
        found: list[Listed],
        read_to: Cursor | None,
    ) -> tuple[list[pb.Operation], Cursor | None]:
        """The operations of the first calls, up to `_MAX_PAGE_BYTES`, and the cursor after them."""
        operations: list[pb.Operation] = []
        page_bytes = 0
        for start in range(0, len(found), _DESCRIPTIONS_PER_ROUND_TRIP):
            chunk = found[start : start + _DESCRIPTIONS_PER_ROUND_TRIP]
            descriptions = await self._ledger.run_all(
                [describe(one.call, _MAX_LISTED_ITEM_BYTES) for one in chunk]
            )
            for one, description in zip(chunk, descriptions, strict=True):
                if isinstance(description, Refused) or not wanted.matches(
                    _updated(one, description)
                ):
                    continue  # the call has changed since the index was read
                opened = self._ledger.seals.description(one.call, description)
                operation = shown(one.call, opened)
                operations.append(operation)
                page_bytes += operation.ByteSize()
                if page_bytes > _MAX_PAGE_BYTES and one is not found[-1]:
                    return operations, one.cursor
        return operations, read_to


def _updated(listed: Listed, description: Description) -> Listed:
    return replace(
        listed,
        state=description.state,
        begun_ms=description.begun_ms,
        finished_ms=description.finished_ms,
        worker=description.worker,
        reason=description.reason,
    )
