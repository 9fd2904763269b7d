"""A durable call's requests, as the ledger has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from forebay_ledger.connection import BlockingLedger
from forebay_ledger.keys import CallKey
from forebay_ledger.operations import Begun
from forebay_workers.invocation import Stopped
from forebay_workers.patience import patiently

_A_READ = 4


def stored_requests(ledger: BlockingLedger, call: CallKey, begun: Begun) -> Iterator[bytes]:
    """The request messages, in order; raises Stopped where the call has ended."""
    if begun.inputs is None:
        yield begun.request
        return

    def read(first: int) -> list[bytes]:
        return patiently(partial(ledger.inputs, call, first, _A_READ))

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
