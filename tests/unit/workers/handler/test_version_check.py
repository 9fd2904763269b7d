"""Calls from a gateway of another version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forebay.checks import NoCheck
from forebay.compute.checks import FactorialCheck, MatMulCheck
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import InvalidRequest, OutOfRange, VersionMismatch
from forebay.routes import read_methods
from forebay_workers.handler.version_check import checking_versions, mismatch, unreadable
from tests.reports.v1 import reports_pb2
from tests.unit.samples import METHODS

FACTORIAL = METHODS["Factorial"]
NEWER = "us-" + "0" * 16
UNKNOWN = b"\x98\x06\x01"  # field 99
TOP = pb.FactorialRequest.FromString(pb.FactorialRequest(n=3).SerializeToString() + UNKNOWN)
NESTED = pb.MatMulRequest.FromString(b"\n\x05\x08\x02" + UNKNOWN)


def test_a_call_of_the_same_method_matches() -> None:
    assert mismatch(FACTORIAL, FACTORIAL.name, FACTORIAL.fingerprint) is None
    assert mismatch(FACTORIAL, FACTORIAL.name, NEWER) is None


def test_an_empty_name_or_fingerprint_matches() -> None:
    assert mismatch(FACTORIAL, "", "") is None
    checking_versions(NoCheck(), FACTORIAL, "").feed(TOP)


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [("pkg.S.Other", FACTORIAL.fingerprint), (FACTORIAL.name, "uu" + NEWER[2:])],
)
def test_a_call_of_another_method_or_kind_does_not_match(name: str, fingerprint: str) -> None:
    refusal = mismatch(FACTORIAL, name, fingerprint)
    assert refusal is not None
    assert "deploy the same version of the service's protobuf" in refusal.message


@pytest.mark.parametrize("request_", [TOP, NESTED], ids=["at the top", "within"])
def test_a_field_that_only_the_gateway_has_is_refused(request_: pb.FactorialRequest) -> None:
    with pytest.raises(VersionMismatch, match="does not know"):
        checking_versions(NoCheck(), FACTORIAL, NEWER).feed(request_)


def test_a_field_that_neither_side_has_is_ignored() -> None:
    checking_versions(NoCheck(), FACTORIAL, FACTORIAL.fingerprint).feed(TOP)


def test_the_methods_own_check_still_runs() -> None:
    check = checking_versions(FactorialCheck(max_n=2), FACTORIAL, NEWER)
    with pytest.raises(OutOfRange):
        check.feed(pb.FactorialRequest(n=3))
    checking_versions(FactorialCheck(), FACTORIAL, NEWER).feed(pb.FactorialRequest(n=3))
    check.end()


def test_the_methods_own_check_still_ends() -> None:
    check = checking_versions(MatMulCheck(), METHODS["MatMul"], "ss-" + "0" * 16)
    with pytest.raises(InvalidRequest, match="the request stream is empty"):
        check.end()


def test_a_request_that_only_the_gateway_can_read_names_its_message() -> None:
    error = unreadable(FACTORIAL)
    assert isinstance(error, VersionMismatch)
    assert error.message.startswith(
        "the worker can't read the request as forebay.compute.v1.FactorialRequest; deploy"
    )


def test_a_method_that_returns_an_operation_on_one_side_only_is_refused() -> None:
    (render, *_) = read_methods([reports_pb2.DESCRIPTOR.services_by_name["ReportService"]])
    ordinary = render.fingerprint.replace("uo-", "uu-")
    assert mismatch(render, render.name, render.fingerprint) is None
    for ours, theirs in ((render, ordinary), (replace(render, fingerprint=ordinary), "uo-1")):
        found = mismatch(ours, render.name, theirs)
        assert found is not None
        assert "returns an operation only" in found.message
