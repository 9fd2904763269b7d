"""`Any` with messages of types that the server does not know, in JSON."""

from __future__ import annotations

import json

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, wrappers_pb2
from google.rpc import status_pb2

from forebay_gateway.web.codecs import to_json

UNKNOWN = any_pb2.Any(type_url="type.googleapis.com/shop.v1.Stock", value=b"\x08\x01")


def read(message: operations_pb2.Operation) -> dict[str, object]:
    """The message as a caller reads it."""
    answer: dict[str, object] = json.loads(
        to_json(message.SerializeToString(), operations_pb2.Operation)
    )
    return answer


def test_an_unknown_type_is_told_by_name_and_bytes() -> None:
    known = any_pb2.Any()
    known.Pack(wrappers_pb2.StringValue(value="text"))
    error = status_pb2.Status(code=9, message="no stock", details=[known, UNKNOWN])
    assert read(operations_pb2.Operation(name="operations/a", done=True, error=error)) == {
        "name": "operations/a",
        "done": True,
        "error": {
            "code": 9,
            "message": "no stock",
            "details": [
                {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "text"},
                {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": {"type": UNKNOWN.type_url, "value": "CAE="},
                },
            ],
        },
    }


def test_an_unknown_type_within_a_known_one_hides_no_more_than_itself() -> None:
    inner = any_pb2.Any()
    inner.Pack(status_pb2.Status(code=5, message="gone", details=[UNKNOWN]))
    found = read(operations_pb2.Operation(name="operations/a", response=inner))
    assert found["response"]["message"] == "gone"  # type: ignore[index]
    assert found["response"]["details"][0]["value"]["value"] == "CAE="  # type: ignore[index]


def test_bytes_that_are_no_message_of_their_type_are_told_too() -> None:
    broken = any_pb2.Any(type_url="type.googleapis.com/google.rpc.Status", value=b"\xff")
    found = read(operations_pb2.Operation(name="operations/a", response=broken))
    assert found["response"]["value"]["type"].endswith("google.rpc.Status")  # type: ignore[index]
