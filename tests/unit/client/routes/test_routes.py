"""Reading routes, from services that are described here and never compiled."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.duration_pb2 import Duration

from forebay.routes import Limits, Method, OnEnd, Route, RouteError, read_methods, services_of
from forebay.v1 import route_pb2
from tests.unit.samples import COMPUTE, METHODS

_LEVELS = descriptor_pb2.MethodOptions
_FIELD = descriptor_pb2.FieldDescriptorProto
_Level: TypeAlias = descriptor_pb2.MethodOptions.IdempotencyLevel.ValueType


def _method(
    name: str,
    route: route_pb2.Route | None,
    *,
    streams: str = "",
    idempotency: _Level = _LEVELS.IDEMPOTENCY_UNKNOWN,
) -> descriptor_pb2.MethodDescriptorProto:
    """A method; `streams` has `>` for streaming requests, `<` for streaming responses."""
    options = descriptor_pb2.MethodOptions(idempotency_level=idempotency)
    if route is not None:
        options.Extensions[route_pb2.route].CopyFrom(route)
    return descriptor_pb2.MethodDescriptorProto(
        name=name,
        input_type=".t.Request",
        output_type=".t.Response",
        client_streaming=">" in streams,
        server_streaming="<" in streams,
        options=options,
    )


def _text(name: str, number: int, **more: Any) -> descriptor_pb2.FieldDescriptorProto:
    return _FIELD(
        name=name, number=number, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL, **more
    )


def _service(*methods: descriptor_pb2.MethodDescriptorProto) -> ServiceDescriptor:
    """A service in a pool of its own; its response has `result` and a oneof."""
    pool = descriptor_pool.DescriptorPool()
    for known in (descriptor_pb2, duration_pb2, route_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    fields = [
        _text("result", 1),
        _text("progress", 2, oneof_index=0),
        _text("row", 3, oneof_index=0),
    ]
    part = descriptor_pb2.OneofDescriptorProto(name="part")
    file = descriptor_pb2.FileDescriptorProto(
        name="t.proto",
        package="t",
        syntax="proto3",
        dependency=["forebay/v1/route.proto"],
        message_type=[
            descriptor_pb2.DescriptorProto(name="Request"),
            descriptor_pb2.DescriptorProto(name="Response", field=fields, oneof_decl=[part]),
        ],
        service=[descriptor_pb2.ServiceDescriptorProto(name="Service", method=methods)],
    )
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("t.Service")


def _route(**fields: object) -> route_pb2.Route:
    return route_pb2.Route(**{"task": "t.run", "queue": "q", **fields})  # type: ignore[arg-type]


def _read(route: route_pb2.Route, streams: str = "") -> Method:
    (method,) = read_methods([_service(_method("Run", route, streams=streams))])
    return method


def _problems(*methods: descriptor_pb2.MethodDescriptorProto) -> list[str]:
    with pytest.raises(RouteError) as caught:
        read_methods([_service(*methods)])
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_route_of_task_and_queue_alone_has_every_default() -> None:
    method = _read(_route())
    assert (method.service, method.name) == ("t.Service", "t.Service.Run")
    assert method.path == "/t.Service/Run"
    assert not method.may_run_again
    assert method.request_class.DESCRIPTOR.full_name == "t.Request"
    assert method.response_class.DESCRIPTOR.full_name == "t.Response"
    assert method.route == Route(
        task="t.run",
        queue="q",
        ephemeral=False,
        max_batch=1,
        detach=False,
        live=False,
        transient="",
        deterministic=False,
        limits=Limits(None, None, None, None, None, None),
        priority=0,
        max_priority=0,
        metadata=(),
        caller_chooses_on_disconnect=False,
    )


def test_every_field_of_a_route_is_read() -> None:
    limits = route_pb2.Limits(
        queue_wait=Duration(seconds=1, nanos=500_000_000),
        run_time=Duration(seconds=2),
        attempts=7,
        linger=Duration(),
        request_bytes=8,
        item_bytes=9,
    )
    route = _read(
        _route(
            on_disconnect=route_pb2.ON_DISCONNECT_DETACH,
            transient="progress",
            deterministic=True,
            limits=limits,
            priority=3,
            max_priority=6,
            metadata=["x-tenant", "x-blob-bin"],
            caller_chooses_on_disconnect=True,
        ),
        streams="><",
    ).route
    assert route.limits == Limits(1.5, 2.0, 7, 0.0, 8, 9)
    assert (route.detach, route.caller_chooses_on_disconnect) == (True, True)
    assert (route.transient, route.deterministic) == ("progress", True)
    assert (route.priority, route.max_priority) == (3, 6)
    assert route.metadata == ("x-tenant", "x-blob-bin")


def test_an_ephemeral_method_may_be_batched() -> None:
    route = _read(_route(ephemeral=True, max_batch=32)).route
    assert (route.ephemeral, route.max_batch) == (True, 32)


def test_a_streaming_method_may_limit_the_stall_time() -> None:
    route = _read(_route(limits={"stall": Duration(seconds=5)}), "<").route
    assert route.limits.stall_s == 5.0


def test_a_live_method_may_limit_the_idle_time() -> None:
    route = _read(_route(live=True, limits={"idle": Duration(seconds=5)}), ">").route
    assert (route.live, route.limits.idle_s) == (True, 5.0)


def test_a_caller_may_always_ask_for_the_routes_own_priority() -> None:
    assert _read(_route(priority=4)).route.max_priority == 4


@pytest.mark.parametrize("streams", ["", ">", "<", "><"])
def test_a_method_streams_as_its_descriptor_says(streams: str) -> None:
    method = _read(_route(), streams)
    assert (method.client_streaming, method.server_streaming) == (">" in streams, "<" in streams)


@pytest.mark.parametrize(
    ("level", "again"),
    [
        (_LEVELS.IDEMPOTENCY_UNKNOWN, False),
        (_LEVELS.NO_SIDE_EFFECTS, True),
        (_LEVELS.IDEMPOTENT, True),
    ],
)
def test_idempotency_decides_whether_a_call_may_run_again(level: _Level, again: bool) -> None:
    (method,) = read_methods([_service(_method("Run", _route(), idempotency=level))])
    assert method.may_run_again is again


def test_methods_without_a_route_are_left_out_and_the_others_keep_their_order() -> None:
    service = _service(
        _method("C", _route(task="c")), _method("Unrouted", None), _method("A", _route(task="a"))
    )
    assert [method.path for method in read_methods([service])] == ["/t.Service/C", "/t.Service/A"]


@pytest.mark.parametrize(
    ("fields", "streams", "names"),
    [
        ({"task": ""}, "", "`task`"),
        ({"queue": ""}, "", "`queue`"),
        ({"ephemeral": True}, "<", "`ephemeral`"),
        ({"ephemeral": True}, ">", "`ephemeral`"),
        ({"max_batch": 2}, "", "`max_batch`"),
        ({"max_batch": 2}, "<", "`max_batch`"),
        ({"live": True}, "<", "`live`"),
        ({"limits": {"idle": Duration(seconds=1)}}, ">", "`limits.idle`"),
        ({"limits": {"stall": Duration(seconds=1)}}, "", "`limits.stall`"),
        ({"limits": {"stall": Duration()}}, "<", "`limits.stall`"),
        (
            {"limits": {"stall": Duration(seconds=1)}, "plain": route_pb2.PlainTask()},
            "<",
            "`limits.stall`",
        ),
        ({"live": True, "limits": {"idle": Duration()}}, ">", "`limits.idle`"),
        ({"priority": 10}, "", "priority of 10"),
        ({"max_priority": 11}, "", "priority of 11"),
        ({"transient": "absent"}, "<", "'absent'"),
        ({"transient": "result"}, "<", "'result'"),
        ({"metadata": ["Authorization"]}, "", "'Authorization'"),
        ({"metadata": ["cookie"]}, "", "'cookie'"),
        ({"metadata": ["grpc-timeout"]}, "", "'grpc-timeout'"),
        ({"metadata": ["forebay-call-id"]}, "", "'forebay-call-id'"),
        ({"limits": {"queue_wait": Duration()}}, "", "`limits.queue_wait`"),
        ({"limits": {"run_time": Duration(seconds=-1)}}, "", "`limits.run_time`"),
        ({"limits": {"linger": Duration(seconds=-1)}}, "", "`limits.linger`"),
        ({"transient": "progress"}, "", "`transient`"),
        ({"metadata": ["X-Tenant"]}, "", "'X-Tenant'"),
        ({"requires": "reports.*"}, "", "'reports.*'"),
        ({"requires": "reports..render"}, "", "'reports..render'"),
        ({"requires": "réports"}, "", "`requires`"),
        ({"on_disconnect": 9}, "", "`on_disconnect`"),
        ({"on_disconnect": 2, "ephemeral": True}, "", "`on_disconnect`"),
    ],
)
def test_a_problem_is_reported_with_file_method_and_field(
    fields: dict[str, object], streams: str, names: str
) -> None:
    (problem,) = _problems(_method("Run", _route(**fields), streams=streams))
    assert problem.startswith("t.proto: t.Service.Run: ")
    assert names in problem


def test_a_route_may_name_a_task_that_is_told_of_ends() -> None:
    assert _read(_route()).route.on_end is None
    on_end = route_pb2.OnEnd(task="t.ended", queue="ends")
    assert _read(_route(on_end=on_end)).route.on_end == OnEnd("t.ended", "ends")


@pytest.mark.parametrize(
    ("on_end", "changes", "expected"),
    [
        ({"queue": "q"}, {}, "`on_end` has no `task`"),
        ({"task": "t"}, {}, "`on_end` has no `queue`"),
        ({"task": "t", "queue": "q"}, {"ephemeral": True}, "remove it or `ephemeral`"),
        ({"task": "t", "queue": "q"}, {"plain": {}}, "which plain tasks have not"),
        ({"task": "t.run", "queue": "q"}, {}, "belongs to t.Service.Run; set another task"),
    ],
)
def test_a_task_that_can_not_be_told_is_refused(
    on_end: dict[str, str], changes: dict[str, Any], expected: str
) -> None:
    route = _route(on_end=route_pb2.OnEnd(**on_end), **changes)
    (problem,) = _problems(_method("Run", route))
    assert expected in problem
    assert "t.Service.Run: " in problem


def test_a_field_of_on_end_that_is_not_known_is_refused() -> None:
    on_end = route_pb2.OnEnd.FromString(b"\x0a\x01t\x12\x01q\x1a\x01x")
    (problem,) = _problems(_method("Run", _route(on_end=on_end)))
    assert "`on_end` has a field 3" in problem


def test_the_most_urgent_priority_is_9() -> None:
    (method,) = read_methods([_service(_method("Run", _route(priority=9, max_priority=9)))])
    assert (method.route.priority, method.route.max_priority) == (9, 9)


def test_two_methods_may_not_share_a_task() -> None:
    (problem,) = _problems(_method("First", _route()), _method("Second", _route()))
    assert problem.startswith("t.proto: t.Service.Second: ")
    assert "'t.run'" in problem
    assert "t.Service.First" in problem


def test_all_problems_are_reported_at_once() -> None:
    problems = _problems(
        _method("One", _route(task="", queue="", priority=12)),
        _method("Fine", _route()),
        _method("Two", _route(ephemeral=True, transient="absent"), streams="<"),
    )
    assert [problem.split(": ")[1] for problem in problems] == [
        *["t.Service.One"] * 3,
        *["t.Service.Two"] * 3,
    ]


def test_an_item_is_transient_where_the_routes_field_is_set() -> None:
    factorial = METHODS["Factorial"]
    response = factorial.response_class
    assert factorial.is_transient(response(progress={"fraction": 0.5}))
    assert not factorial.is_transient(response(digits="1"))
    assert not METHODS["Add"].is_transient(METHODS["Add"].response_class(sum=1))


def test_the_services_of_a_file_are_found() -> None:
    assert list(services_of([COMPUTE.file])) == [COMPUTE]


def test_the_routes_keep_the_tutorials_names() -> None:
    assert {(m.route.task, m.route.queue) for m in METHODS.values()} == {
        ("add_module.tasks.add", "add"),
        ("factorial_module.tasks.factorial", "factorial"),
        ("mat_mul_module.tasks.mat_mul", "mat_mul"),
    }
    assert all(m.may_run_again and m.route.deterministic for m in METHODS.values())
