"""The service through `buf curl`, which uses reflection v1 (grpcurl uses v1alpha)."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from google.rpc import error_details_pb2

from tests.commands import Ran, run
from tests.conftest import Up

SERVICE = "forebay.compute.v1.ComputeService"
OUT_OF_RANGE = 11


def buf_curl(up: Up, path: str, *arguments: str, requests: str = "") -> Ran:
    """`buf curl` of a path of the gateway; the requests are JSON documents."""
    return run(
        *["buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge"],
        *["--reflect-protocol", "grpc-v1", f"http://{up.address}/{path}", *arguments],
        *(["--data", "@-"] if requests else []),
        env=up.env,
        stdin=requests,
    )


def call(up: Up, method: str, *requests: dict[str, Any]) -> Ran:
    """A call of ComputeService."""
    return buf_curl(up, f"{SERVICE}/{method}", requests="\n".join(map(json.dumps, requests)))


def test_add_is_answered(up: Up) -> None:
    assert call(up, "Add", {"x": 4, "y": 6}).succeeded().messages == [{"sum": 10}]


def test_factorial_streams_header_and_digits(up: Up) -> None:
    messages = call(up, "Factorial", {"n": 1000}).succeeded().messages
    header, *digits = [message for message in messages if "progress" not in message]
    number = math.factorial(1000)
    assert header["header"] == {
        "bitLength": str(number.bit_length()),
        "digitCount": str(len(str(number))),
        "byteCount": str((number.bit_length() + 7) // 8),
    }
    assert "".join(chunk["digits"] for chunk in digits) == str(number)


def test_mat_mul_takes_a_stream_of_requests(up: Up) -> None:
    operands = {"left": {"rows": 1, "cols": 2}, "right": {"rows": 2, "cols": 1, "values": [3, 4]}}
    chunk = base64.b64encode(bytes.fromhex("000000000000f03f 0000000000000040")).decode()
    answer = call(
        up, "MatMul", {"operands": {**operands, "format": 2}}, {"leftChunk": chunk}
    ).succeeded()
    assert [m["panel"]["values"] for m in answer.messages if "panel" in m] == [[11]]


def test_a_bad_request_has_details(up: Up) -> None:
    answer = call(up, "Factorial", {"n": "20000000000"})
    assert answer.code == OUT_OF_RANGE << 3
    error = json.loads(answer.err)
    assert error["code"] == "out_of_range"
    details = {detail["type"]: _unpadded(detail["value"]) for detail in error["details"]}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    bad = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"])
    assert (info.domain, info.reason) == ("forebay", "INVALID_REQUEST")
    assert [violation.field for violation in bad.field_violations] == ["n"]


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
def test_services_are_listed_over_either_reflection(up: Up, protocol: str) -> None:
    listed = buf_curl(up, "", "--list-services", "--reflect-protocol", protocol).succeeded()
    assert listed.out.split() == [
        SERVICE,
        "forebay.v1.CallService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


def test_methods_are_listed(up: Up) -> None:
    listed = buf_curl(up, "", "--list-methods").succeeded().out.split()
    assert [method for method in listed if method.startswith("forebay.compute.")] == [
        f"{SERVICE}/Add",
        f"{SERVICE}/Factorial",
        f"{SERVICE}/MatMul",
    ]


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
