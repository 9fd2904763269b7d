"""Problems in the plain part of a route are reported with file, method and fix."""

from __future__ import annotations

import pytest
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    text_format,
)

from forebay.routes import Method, RouteError, read_methods
from forebay.routes.plain import ExceptionStatus, PlainTask
from forebay.v1 import route_pb2
from forebay_gateway.admin.policy import policy
from forebay_gateway.server.methods import needs_ledger
from tests.unit.samples import METHODS

FILE = """
name: "t.proto" package: "t" syntax: "proto3"
dependency: "forebay/v1/route.proto" dependency: "google/protobuf/any.proto"
message_type {
  name: "Request"
  field {name: "x" number: 1 type: TYPE_INT64 label: LABEL_OPTIONAL}
  field {name: "y" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL}
}
message_type {
  name: "Response"
  field {name: "sum" number: 1 type: TYPE_INT64 label: LABEL_OPTIONAL}
  field {name: "next" number: 2 type: TYPE_MESSAGE type_name: ".t.Response" label: LABEL_OPTIONAL}
}
message_type {
  name: "Loose"
  field {name: "in" number: 1 type: TYPE_MESSAGE type_name: ".t.Looser" label: LABEL_OPTIONAL}
}
message_type {
  name: "Looser"
  field {
    name: "any" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED
    type_name: ".google.protobuf.Any"
  }
}
service {
  name: "Service"
  method {
    name: "Run" input_type: ".t.%(request)s" output_type: ".t.%(response)s" %(streams)s
    options {[forebay.v1.route] {task: "t.run" queue: "q" %(route)s}}
  }
  method {
    name: "Again" input_type: ".t.Request" output_type: ".t.Response"
    options {[forebay.v1.route] {task: "t.run" queue: "q" plain {}}}
  }
}
"""


def read(
    route: str, streams: str = "", request: str = "Request", response: str = "Response"
) -> Method:
    pool = descriptor_pool.DescriptorPool()
    for known in (descriptor_pb2, duration_pb2, any_pb2, route_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    fields = {"route": route, "streams": streams, "request": request, "response": response}
    file = text_format.Parse(FILE % fields, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    method, _ = read_methods([pool.FindServiceByName("t.Service")])
    return method


def test_a_route_without_a_plain_part_keeps_records() -> None:
    with pytest.raises(RouteError):  # both methods have one task, and one of them is a handler
        read("max_batch: 2")
    assert read("plain {}").route.plain is not None


def test_a_plain_part_is_read_with_its_defaults() -> None:
    method = read("plain {}")
    plain = method.route.plain
    assert plain is not None
    assert method.is_plain
    assert (plain.positional, plain.result, plain.exceptions) == ((), "", ())
    assert (plain.json_text, plain.let_finish) == (False, False)


def test_a_plain_part_is_read_as_it_is_written() -> None:
    plain = read(
        'plain {positional: ["y", "x"] result: "sum" json_text: true let_finish: true '
        'exceptions {type: "a.B" status: "ABORTED" reason: "NO_LUCK" tell_message: true}}'
    ).route.plain
    assert plain is not None
    assert (plain.positional, plain.result) == (("y", "x"), "sum")
    assert plain.json_text
    assert plain.let_finish
    (exception,) = plain.exceptions
    assert (exception.type, exception.code, exception.reason, exception.tell_message) == (
        "a.B",
        10,
        "NO_LUCK",
        True,
    )


@pytest.mark.parametrize(
    ("route", "streams", "problem"),
    [
        ("plain {}", "client_streaming: true", "a `plain` task takes one request"),
        ("plain {} ephemeral: true", "", "`ephemeral` is not for `plain` tasks; remove it"),
        ("plain {} live: true", "", "`live` is not for `plain` tasks; remove it"),
        ("plain {} deterministic: true", "", "`deterministic` is not for `plain` tasks"),
        ("plain {} max_batch: 2", "", "`max_batch` is not for `plain` tasks; remove it"),
        ('plain {positional: "z"}', "", "`plain.positional` names 'z', which is not a field of t."),
        ('plain {positional: ["x", "x"]}', "", "`plain.positional` names a field twice"),
        ('plain {result: "z"}', "", "`plain.result` names 'z', which is not a field of t.Response"),
        ("plain {exceptions {status: 'ABORTED'}}", "", "an exception has no `type`"),
        ("plain {exceptions {type: 'E' status: 'OK'}}", "", "the status of 'E' is 'OK'"),
        ("plain {exceptions {type: 'E' status: 'Nope'}}", "", "such as NOT_FOUND"),
        (
            "plain {exceptions {type: 'E' status: 'ABORTED' reason: 'no luck'}}",
            "",
            "the reason of 'E' is 'no luck'; expected A-Z, 0-9 and _",
        ),
    ],
)
def test_a_problem_names_the_file_the_method_and_the_fix(
    route: str, streams: str, problem: str
) -> None:
    with pytest.raises(RouteError) as refused:
        read(route, streams)
    assert any(
        line.startswith("t.proto: t.Service.Run: ") and problem in line
        for line in refused.value.problems
    ), refused.value.problems


def test_an_any_is_refused_however_deep_it_is() -> None:
    with pytest.raises(RouteError, match=r"t\.Looser\.any is an Any, which `plain` tasks can't"):
        read("plain {}", request="Loose")
    with pytest.raises(RouteError, match=r"t\.Looser\.any is an Any"):
        read("plain {}", response="Loose")


def test_the_table_of_routes_shows_plain_tasks() -> None:
    assert policy(read("plain {}")) == "plain task, runs once"


def test_only_methods_that_keep_records_need_a_ledger() -> None:
    plain = read("plain {}")
    assert not needs_ledger([plain])
    assert needs_ledger([plain, METHODS["Add"]])


def test_by_default_a_table_shows_no_message_and_a_task_replaces_itself_by_no_other() -> None:
    assert not ExceptionStatus("KeyError", "NOT_FOUND").tell_message
    assert not PlainTask((), "", json_text=False, exceptions=(), let_finish=False).replaces
