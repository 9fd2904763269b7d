"""Probes of metadata, in all types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.servicers.probing.reporting import result, text

METADATA: Mapping[str, Any] = {
    "None": None,
    "nothing": (),
    "tuples": (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00\xff")),
    "lists": [["x-a", "1"], ["x-b-bin", b"\x00"]],
    "a Metadata object": grpc.aio.Metadata(("x-a", "1"), ("x-a", "2")),
    "keys of bytes": [(b"x-a", "1"), (b"x-b-bin", b"\xff")],
    "values of bytes": [("x-a", b"1"), (b"x-b", b"2")],
    "no value": [("x-a", None), ("x-b", "")],
    "pairs in a dict": {"ab": "cd"},
    "pairs of letters": ["ab"],
    "spaces": [("x-a", " b ")],
}
"""Metadata that gRPC sends."""

REFUSED_METADATA: Mapping[str, Any] = {
    "a number": 5,
    "an iterator": iter([("x-a", "1")]),
    "a text": "ab",
    "a dict": {"x-a": "1"},
    "one value": [("x-a",)],
    "three values": [("x-a", "1", "2")],
    "a key that is a number": [(5, "1")],
    "a value that is a number": [("x-a", 5)],
    "a bytearray": [("x-a", bytearray(b"1"))],
    "text under -bin": [("x-a-bin", "1")],
    "no value under -bin": [("x-a-bin", None)],
}
"""Metadata that gRPC refuses by an exception."""


def invocation_metadata(request: EchoRequest, context: Any) -> EchoResponse:
    entries = [entry for entry in context.invocation_metadata() if entry.key.startswith("x-")]
    return text(
        [(entry.key, entry.value, len(entry), isinstance(entry, tuple)) for entry in entries]
    )


def initial(metadata: Any) -> Callable[..., EchoResponse]:
    def probe(request: EchoRequest, context: Any) -> EchoResponse:
        return text(
            [
                result(context.send_initial_metadata, metadata),
                result(context.send_initial_metadata, ()),
            ]
        )

    return probe


def refused_initial(metadata: Any) -> Callable[..., EchoResponse]:
    def probe(request: EchoRequest, context: Any) -> EchoResponse:
        refused = result(context.send_initial_metadata, metadata)
        context.send_initial_metadata((("x-after", "1"),))
        return text(refused)

    return probe


def trailing(metadata: Any) -> Callable[..., EchoResponse]:
    def probe(request: EchoRequest, context: Any) -> EchoResponse:
        return text(
            [
                result(context.set_trailing_metadata, metadata),
                result(context.trailing_metadata)[0],
                context.trailing_metadata() == metadata,
            ]
        )

    return probe


def trailing_with_a_code(request: EchoRequest, context: Any) -> EchoResponse:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("gone")
    context.set_trailing_metadata([(b"grpc-status-details-bin", request.ballast), ("x-a", "1")])
    return text("done")


def trailing_then_raise(request: EchoRequest, context: Any) -> None:
    context.set_trailing_metadata([("x-a", "1")])
    raise RuntimeError("a secret")


def _by_name(make: Callable[[Any], Any], values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}: {name}": make(value) for name, value in values.items()}


OK, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND


METADATA_PROBES = {
    "invocation metadata": invocation_metadata,
    "trailing metadata with a code": trailing_with_a_code,
    "trailing metadata, then an exception": trailing_then_raise,
    **_by_name(initial, METADATA, "initial metadata"),
    **_by_name(refused_initial, REFUSED_METADATA, "refused initial metadata"),
    **_by_name(trailing, METADATA, "trailing metadata"),
}
