"""Iterators over a durable call's requests: stored ones, and live ones as they arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from forebay.errors import ItemsLost
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import Begun
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.requests import take_requests
from forebay_workers.handler.context import POLL_INTERVAL_S, CallContext
from forebay_workers.handler.interrupted import Refused as RefusedRequest
from forebay_workers.handler.interrupted import Stopped
from forebay_workers.handler.ledger_retry import retry_while_unavailable

PAGE_SIZE = 4
"""How many stored requests are read from the ledger at once."""


def stored_requests(ledger: BlockingLedger, call: CallKey, begun: Begun) -> Iterator[bytes]:
    """Yields the request messages, in order.

    Raises Stopped if the call has ended, and RefusedRequest if a request was altered or is missing.
    """
    if begun.inputs is None:
        yield begun.request
        return

    def read(first: int) -> list[bytes]:
        with _refusing_altered():
            return retry_while_unavailable(partial(ledger.inputs, call, first, PAGE_SIZE))

    ordinal = 0
    next_page: Callable[[], list[bytes]] = partial(read, ordinal)
    reader = ThreadPoolExecutor(1, "forebay-inputs")
    try:
        while ordinal < begun.inputs:
            requests = next_page()
            if not requests:
                raise Stopped  # the call has ended, and the ledger has deleted them
            ordinal += len(requests)
            if ordinal < begun.inputs:  # read ahead while the handler uses this page
                next_page = reader.submit(read, ordinal).result
            yield from requests
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def live_requests(ledger: BlockingLedger, context: CallContext) -> Iterator[bytes]:
    """Yields the request messages as they arrive, until the caller ends its stream.

    Several messages may be read at once. They are acknowledged together, when the handler asks for
    the message after them. Ends early when the handler has returned. Raises Stopped if the call has
    ended or the ledger has lost requests, and RefusedRequest if a request was altered or the stream
    was cut short.
    """
    ordinal = read_bytes = 0
    while not context.has_finished():
        notices = context.request_notices
        asked = take_requests(context.call, context.attempt, ordinal, read_bytes)
        taken = retry_while_unavailable(partial(ledger.run, asked))
        if isinstance(taken, Refused):
            if context.has_finished():
                return
            context.stop(taken.why)
            raise Stopped
        with _refusing_altered():
            if taken.total is not None:
                ledger.seals.check_requests_end(context.call, taken.total, taken.end)
        for sealed in taken.requests:
            with _refusing_altered():
                request = ledger.seals.open_input(context.call, ordinal, sealed)
            ordinal, read_bytes = ordinal + 1, read_bytes + len(sealed)
            yield request
        if ordinal == taken.total:
            return
        if not taken.requests:
            context.wait_for_requests(notices, POLL_INTERVAL_S)


@contextmanager
def _refusing_altered() -> Iterator[None]:
    try:
        yield
    except ItemsLost as error:
        raise RefusedRequest(error) from error
