"""The fields that all our spans have: the names of attributes, events for items, and the status."""

from __future__ import annotations

import time

from opentelemetry.trace import Span

from forebay_backends.telemetry.ending_span import finish
from forebay_backends.telemetry.item_events import ItemEvents
from forebay_backends.telemetry.server_faults import SERVER_FAULTS

CALL_ID = "forebay.call_id"
ATTEMPT = "forebay.attempt"
TENANT = "forebay.tenant"
LINK = "forebay.link"
ORDINAL = "forebay.item.ordinal"
STOPPED = "forebay.stopped"
STATUS_CODE = "rpc.response.status_code"


def add_item(span: Span, items: ItemEvents | None) -> ItemEvents:
    """Records an item of the call, if it is one of those that become events.

    `items` are the result of the last one; None for the first.
    """
    items, now_ns = items or ItemEvents(), time.time_ns()
    ordinal = items.on_item(now_ns)
    if ordinal is not None:
        span.add_event("item", {ORDINAL: ordinal}, now_ns)
    return items


def end_span(span: Span, items: ItemEvents | None, code: str, attributes: dict[str, str]) -> None:
    """Ends the span with a status's name, and with the event of the last item, if there was one."""
    last = None if items is None else items.last()
    if last is not None:
        span.add_event("item", {ORDINAL: last[0]}, last[1])
    finish(span, attributes, failed=code in SERVER_FAULTS)
