"""Methods that return an operation: their types, their ids, and what is refused at start."""

from __future__ import annotations

from typing import Any

import pytest
from google.api import (
    annotations_pb2,
    client_pb2,
    field_behavior_pb2,
    field_info_pb2,
    http_pb2,
    launch_stage_pb2,
)
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, empty_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import status_pb2

from forebay.routes import Method, RouteError, read_methods
from forebay.routes.fingerprints import same_kind
from forebay.routes.operations import OPERATION
from forebay.v1 import route_pb2
from forebay_backends.ledger.keys import is_call_id
from forebay_gateway.admin.policy import policy
from tests.reports.v1 import reports_pb2
from tests.unit.described import NUMBER, TEXT, route

_KNOWN = (
    *(descriptor_pb2, duration_pb2, any_pb2, empty_pb2, http_pb2, annotations_pb2),
    *(launch_stage_pb2, client_pb2, field_behavior_pb2, field_info_pb2, status_pb2),
    *(operations_pb2, route_pb2),
)
_IMPORTS = (
    *("forebay/v1/route.proto", "google/longrunning/operations.proto"),
    "google/api/field_info.proto",
)
REPORTS = {
    method.name.rpartition(".")[2]: method
    for method in read_methods([reports_pb2.DESCRIPTOR.services_by_name["ReportService"]])
}
UUID = "7d0ea3e0-5b2c-4e0f-9a57-2f1d6c1c3b10"


def read(
    response: str | None = "Report",
    metadata: str = "Progress",
    *,
    output: str = OPERATION,
    streams: str = "",
    request_id: FieldDescriptorProto.Type.ValueType = TEXT,
    repeated: bool = False,
    **fields: Any,
) -> Method:
    """The method of a service that is described here; `streams` has `>` and `<`.

    `response` of None leaves the option out.
    """
    proto = FileDescriptorProto(name="t.proto", package="t", syntax="proto3", dependency=_IMPORTS)
    for name in ("Request", "Report", "Progress"):
        proto.message_type.add(name=name)
    proto.message_type[0].field.add(
        name="request_id", number=1, type=request_id, label=3 if repeated else 1
    )
    proto.message_type[1].nested_type.add(name="Part")
    method = proto.service.add(name="S").method.add(
        name="Run",
        input_type=".t.Request",
        output_type=f".{output}",
        client_streaming=">" in streams,
        server_streaming="<" in streams,
    )
    method.options.Extensions[route_pb2.route].CopyFrom(route(**fields))
    if response is not None:
        info = method.options.Extensions[operations_pb2.operation_info]
        info.response_type, info.metadata_type = response, metadata
        info.SetInParent()
    pool = DescriptorPool()
    for known in _KNOWN:
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(
        FileDescriptorProto(
            name="elsewhere.proto",
            package="elsewhere",
            message_type=[descriptor_pb2.DescriptorProto(name="Report")],
        ).SerializeToString()
    )
    pool.AddSerializedFile(proto.SerializeToString())
    (found,) = read_methods([pool.FindServiceByName("t.S")])
    return found


def types(method: Method) -> tuple[str, str]:
    assert method.operation is not None
    response, metadata = method.operation.messages
    return response.full_name, metadata.full_name


def problems(**changes: Any) -> str:
    with pytest.raises(RouteError) as raised:
        read(**changes)
    return str(raised.value)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Report", "t.Report"),
        ("t.Report", "t.Report"),
        ("Report.Part", "t.Report.Part"),
        ("google.protobuf.Empty", "google.protobuf.Empty"),
    ],
)
def test_a_type_is_named_within_the_package_or_with_it(written: str, found: str) -> None:
    assert types(read(written, "Progress")) == (found, "t.Progress")
    assert types(read("Report", written)) == ("t.Report", found)


def test_a_method_without_the_option_is_an_ordinary_one() -> None:
    found = read(None)
    assert (found.operation, found.result_class) == (None, found.response_class)
    assert not found.route.detach


def test_an_operation_outlives_its_caller_and_has_the_declared_response() -> None:
    found = read()
    assert found.route.detach
    assert found.response_class.DESCRIPTOR.full_name == OPERATION
    assert found.result_class.DESCRIPTOR.full_name == "t.Report"


def test_the_types_of_an_operation_are_part_of_the_fingerprint() -> None:
    one, other = read(), read(metadata="google.protobuf.Empty")
    assert one.fingerprint.startswith("uo-")
    assert one.fingerprint != other.fingerprint
    assert same_kind(one.fingerprint, other.fingerprint)
    assert not same_kind(one.fingerprint, read(None).fingerprint)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"response": ""}, "`operation_info` has no `response_type`"),
        ({"metadata": ""}, "`operation_info` has no `metadata_type`"),
        ({"response": "Nothing"}, "`operation_info.response_type` is 'Nothing', which is no"),
        ({"response": "Reports"}, "did you mean `Report`?"),
        (
            {"metadata": "elsewhere.Report"},
            "is 'elsewhere.Report', which is not a message of t.proto",
        ),
        ({"output": "t.Report"}, "it has `operation_info`, but returns t.Report"),
        ({"streams": "<"}, "has one request and one response; remove `stream`"),
        ({"streams": ">"}, "has one request and one response; remove `stream`"),
        ({"ephemeral": True}, "`ephemeral` is not for methods with `operation_info`"),
        (
            {"cache": route_pb2.Cache(ttl=duration_pb2.Duration(seconds=60))},
            "`cache` is not for methods with `operation_info`",
        ),
        ({"plain": route_pb2.PlainTask()}, "a `plain` task can't have `operation_info`"),
        ({"on_disconnect": "ON_DISCONNECT_CANCEL"}, "`on_disconnect` of CANCEL is not for"),
        ({"caller_chooses_on_disconnect": True}, "`caller_chooses_on_disconnect` is not for"),
        (
            {"limits": route_pb2.Limits(linger=duration_pb2.Duration(seconds=1))},
            "`limits.linger` is not for methods with `operation_info`",
        ),
        ({"request_id": NUMBER}, "t.Request.request_id is the id of the call"),
        ({"repeated": True}, "t.Request.request_id is the id of the call"),
    ],
)
def test_what_can_not_work_is_refused_at_start(changes: dict[str, Any], problem: str) -> None:
    assert problem in problems(**changes)


def test_all_problems_are_reported_at_once() -> None:
    found = problems(response="", metadata="Nothing", streams="<", ephemeral=True)
    assert found.count("t.proto: t.S.Run: ") == 5, found


def test_a_request_id_is_an_id_of_a_call_or_empty() -> None:
    operation = REPORTS["Render"].operation
    assert operation is not None
    for given in ("", "a", "x" * 128, UUID, "A.b_c:d-e"):
        assert operation.request_id(reports_pb2.RenderRequest(request_id=given)) == given
        assert not given or is_call_id(given)
    for given in ("no id", "x" * 129, "ü", "a/b", "a\n"):
        with pytest.raises(ValueError, match="expected 1 to 128 of"):
            operation.request_id(reports_pb2.RenderRequest(request_id=given))
        assert not is_call_id(given)


def test_a_request_id_that_is_a_uuid_may_have_large_letters() -> None:
    operation = REPORTS["Archive"].operation
    assert operation is not None
    for given in (UUID, UUID.upper()):
        assert operation.request_id(reports_pb2.ArchiveRequest(request_id=given)) == UUID
    for given in ("a", UUID.replace("-4e", "-1e"), UUID.replace("-9a", "-ca"), f"{UUID}0"):
        with pytest.raises(ValueError, match="a UUID of version 4"):
            operation.request_id(reports_pb2.ArchiveRequest(request_id=given))


def test_a_policy_names_the_response() -> None:
    assert policy(REPORTS["Render"]) == "operation of Report, runs once"
    assert policy(REPORTS["RenderOnce"]) == "operation of Report, may run again"
