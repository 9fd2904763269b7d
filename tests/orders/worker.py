"""`celery -A tests.orders.worker worker -Q orders`: handlers without any generated code.

The descriptor set that `ORDERS_SET` names stands for it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import message_factory

from forebay.routes.sources import read_source
from forebay_workers import application

SOURCE = read_source(os.environ["ORDERS_SET"])
(ORDERS,) = SOURCE.services


def _new(name: str, **fields: Any) -> Any:
    """A message of the package."""
    descriptor = SOURCE.pool.FindMessageTypeByName(f"shop.v1.{name}")
    return message_factory.GetMessageClass(descriptor)(**fields)


def quote(order: Any, context: grpc.ServicerContext) -> Any:
    """A price a piece."""
    return _new("Price", total=2.5 * order.count)


def place(order: Any, context: grpc.ServicerContext) -> Any:
    """Confirms an order, or aborts."""
    if not order.item:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "what is to be ordered?")
    tenant = dict(context.invocation_metadata()).get("x-tenant", "nobody")
    return _new("Receipt", text=f"{order.count} {order.item} for {tenant}", due=order.due)


def track(order: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    """Yields a step for each piece, with progress in between."""
    for number in range(order.count):
        yield _new("Event", progress={"fraction": number / order.count})
        yield _new("Event", step=f"{order.item} {number}")


def place_many(orders: Iterator[Any], context: grpc.ServicerContext) -> Any:
    """One receipt for all."""
    return _new("Receipt", text=", ".join(order.item for order in orders))


def ponder(order: Any, context: grpc.ServicerContext) -> Any:
    """Runs until it is stopped."""
    over = threading.Event()
    context.add_callback(over.set)
    over.wait()
    logging.getLogger(__name__).warning("pondering ended, active: %s", context.is_active())
    return _new("Receipt", text="too late")


def done(order: Any, context: grpc.ServicerContext) -> Any:
    """Reports that it is done."""
    return _new("Receipt", text="done")


app = application(
    "orders",
    {
        ORDERS: {
            "Quote": quote,
            "Ponder": ponder,
            "Place": place,
            "Track": track,
            "PlaceMany": place_many,
            "Cancel": done,
            "Archive": done,
        }
    },
)
