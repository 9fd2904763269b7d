"""The parts that all spans of a method or of a queue have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from opentelemetry.trace import SpanKind

Attributes = Mapping[str, str | int]


@dataclass(frozen=True, eq=False)
class Shape:
    """Name, kind and fixed attributes. There is one for each method or queue, and they are few."""

    name: str
    kind: SpanKind
    attributes: dict[str, str]


@cache
def server_shape(method: str) -> Shape:
    """The SERVER span of an RPC."""
    attributes = {"rpc.system.name": "grpc", "rpc.method": _slashed(method)}
    return Shape(_slashed(method), SpanKind.SERVER, attributes)


@cache
def producer_shape(queue: str) -> Shape:
    """The PRODUCER span of a call."""
    return Shape(f"send {queue}", SpanKind.PRODUCER, _of_queue(queue))


@cache
def consumer_shape(queue: str, method: str) -> Shape:
    """The CONSUMER span of an attempt."""
    attributes = {**_of_queue(queue), "rpc.method": _slashed(method)}
    return Shape(f"process {queue}", SpanKind.CONSUMER, attributes)


def _slashed(method: str) -> str:
    service, _, name = method.rpartition(".")
    return f"{service}/{name}"


def _of_queue(queue: str) -> dict[str, str]:
    return {"messaging.system": "celery", "messaging.destination.name": queue}
