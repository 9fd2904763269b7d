"""A durable call's requests, as the ledger has them, or as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import Begun
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.requests import take_requests
from forebay_backends.ledger.scripts import LEASE_S
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.invoke import Stopped
from forebay_workers.handler.ledger_retry import retry_while_away

_A_READ = 4
_LOOK_EVERY_S = LEASE_S / 3


def stored_requests(ledger: BlockingLedger, call: CallKey, begun: Begun) -> Iterator[bytes]:
    """The request messages, in order; raises Stopped where the call has ended."""
    if begun.inputs is None:
        yield begun.request
        return

    def read(first: int) -> list[bytes]:
        return retry_while_away(partial(ledger.inputs, call, first, _A_READ))

    ordinal = 0
    next_page: Callable[[], list[bytes]] = partial(read, ordinal)
    reader = ThreadPoolExecutor(1, "forebay-inputs")
    try:
        while ordinal < begun.inputs:
            requests = next_page()
            if not requests:
                raise Stopped  # the requests go when the call has ended
            ordinal += len(requests)
            if ordinal < begun.inputs:  # it comes while the handler is busy with this page
                next_page = reader.submit(read, ordinal).result
            yield from requests
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def live_requests(ledger: BlockingLedger, context: CallContext) -> Iterator[bytes]:
    """The request messages, in order, each when it is there; ends when the caller has.

    Raises Stopped where the call has ended, or the ledger has lost requests. What was taken
    counts as read when the next one is asked for. Once the handler has returned, nothing comes.
    """
    ordinal = read_bytes = 0
    while not context.is_over():
        heard = context.requests_heard
        asked = take_requests(context.call, context.attempt, ordinal, read_bytes)
        taken = retry_while_away(partial(ledger.run, asked))
        if isinstance(taken, Refused):
            if context.is_over():
                return
            context.stop(taken.why)
            raise Stopped
        for request in taken.requests:
            ordinal, read_bytes = ordinal + 1, read_bytes + len(request)
            yield request
        if ordinal == taken.total:
            return
        if not taken.requests:
            context.wait_for_requests(heard, _LOOK_EVERY_S)
