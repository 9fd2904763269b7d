"""A Celery application made from services and handlers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2
from google.protobuf.descriptor import ServiceDescriptor

from forebay.compute.v1 import compute_pb2, compute_pb2_grpc
from forebay.routes import RouteError
from forebay.v1 import calls_pb2, calls_pb2_grpc, route_pb2
from forebay_workers import application
from tests.echo.v1 import echo_pb2

SERVICE = compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]
ADD = "add_module.tasks.add"


def handlers(**given: Any) -> dict[str, Any]:
    return dict.fromkeys(("Add", "Factorial", "MatMul"), lambda request, context: None) | given


def test_each_application_of_a_process_has_its_own_handlers() -> None:
    one, other = (application(name, {SERVICE: handlers()}) for name in ("one", "other"))
    for app in (one, other):
        app.finalize()
    assert one.tasks[ADD] is not other.tasks[ADD]
    assert (one.tasks[ADD].app, other.tasks[ADD].app) == (one, other)


class Servicer(compute_pb2_grpc.ComputeServiceServicer):
    """All of ComputeService's methods, unimplemented."""


class Duck:
    """Extends no generated class."""

    def Add(self, request: object, context: grpc.ServicerContext) -> None:
        """Adds."""

    def Factorial(self, request: object, context: grpc.ServicerContext) -> Iterator[None]:
        """Yields."""
        yield

    MatMul = Factorial


def tasks(app: Any) -> set[str]:
    app.finalize()
    return {name for name in app.tasks if "_module.tasks." in name or "orders." in name}


def test_a_servicer_is_registered_for_the_service_of_its_base_class() -> None:
    app = application("one")
    app.register(Servicer())
    assert len(tasks(app)) == 3


def test_a_servicer_without_a_generated_base_is_registered_for_the_given_service() -> None:
    app = application("one")
    app.register(Duck(), SERVICE)
    assert len(tasks(app)) == 3


@pytest.mark.parametrize("servicer", [Duck(), Servicer, object()])
def test_objects_other_than_servicers_are_refused(servicer: object) -> None:
    with pytest.raises(LookupError, match="extends a generated …Servicer"):
        application("one").register(servicer)


def test_a_service_without_routes_is_refused() -> None:
    class Calls(calls_pb2_grpc.CallServiceServicer):
        pass

    with pytest.raises(LookupError, match=r"no method of forebay\.v1\.CallService has a route"):
        application("one").register(Calls())


def test_a_servicer_without_a_method_that_has_a_route_is_refused() -> None:
    with pytest.raises(LookupError, match=r"EchoService\.Unary has a route"):
        application("one").register(Duck(), echo_pb2.DESCRIPTOR.services_by_name["EchoService"])


def mixed(*plain: str) -> ServiceDescriptor:
    """A service of the methods Old and New, of which the `plain` ones have a plain task."""
    file = descriptor_pb2.FileDescriptorProto(
        name="mixed.proto", package="mixed", dependency=["google/protobuf/empty.proto"]
    )
    service = file.service.add(name="Orders")
    for name in ("Old", "New"):
        method = service.method.add(name=name)
        method.input_type = method.output_type = ".google.protobuf.Empty"
        route = route_pb2.Route(task=f"orders.{name.lower()}", queue="q")
        if name in plain:
            route.plain.SetInParent()
        method.options.Extensions[route_pb2.route].CopyFrom(route)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(empty_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return pool.FindServiceByName("mixed.Orders")


class Orders:
    """A servicer of both methods."""

    def New(self, request: Any, context: Any) -> Any: ...

    def Old(self, request: Any, context: Any) -> Any:
        """As generated servicers have it; never called."""


def test_a_method_with_a_plain_task_needs_no_handler() -> None:
    service = mixed("Old")
    by_mapping = application("one", {service: {"New": Orders().New}})
    by_servicer = application("one")
    by_servicer.register(Orders(), service)
    assert tasks(by_mapping) == tasks(by_servicer) == {"orders.new"}
    with pytest.raises(LookupError, match=r"mixed\.Orders\.New has a route"):
        application("one", {service: {}})


def test_a_service_of_plain_tasks_only_is_refused() -> None:
    with pytest.raises(LookupError, match=r"all routes of mixed\.Orders name plain tasks"):
        application("one").register(Orders(), mixed("Old", "New"))


class Later(Servicer):
    """A servicer for `grpc.aio.server`; its other methods are unimplemented, so no coroutines."""

    async def Add(self, request: Any, context: Any) -> Any:  # type: ignore[override]
        """Adds, later."""


class Intercepting(grpc.ServerInterceptor):
    """An interceptor of `grpc.server`."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Intercepts."""


class InterceptingLater(grpc.aio.ServerInterceptor):
    """An interceptor of `grpc.aio`."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Intercepts, later."""


def on_the_loop(app: Any) -> set[str]:
    """The tasks that run on the event loop."""
    return {name for name in tasks(app) if app.tasks[name].coroutine is not None}


def test_only_coroutines_run_on_the_event_loop() -> None:
    app = application("one")
    app.register(Later())
    assert on_the_loop(app) == {ADD}


def test_interceptors_of_grpc_aio_run_on_the_event_loop_around_all_methods() -> None:
    app = application("one", interceptors=[InterceptingLater()])
    app.register(Later())
    assert len(on_the_loop(app)) == 3


@pytest.mark.parametrize(
    ("interceptors", "message"),
    [
        ([Intercepting()], r"Add is a coroutine, and .* grpc\.aio\.ServerInterceptor"),
        ([Intercepting(), InterceptingLater()], r"one of grpc\.aio.* one kind"),
    ],
)
def test_interceptors_that_would_not_run_are_refused(interceptors: list[Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        application("one").register(Later(), interceptors=interceptors)
    first, *others = interceptors
    with pytest.raises(TypeError, match=message):
        application("one", interceptors=[first]).register(Later(), interceptors=others)


@pytest.mark.parametrize("interceptor", [object(), grpc.ServerInterceptor, Intercepting])
def test_objects_other_than_server_interceptors_are_refused(interceptor: Any) -> None:
    with pytest.raises(TypeError, match=r"expected objects with a method intercept_service"):
        application("one", interceptors=[interceptor])
    with pytest.raises(TypeError, match=r"expected objects with a method intercept_service"):
        application("one").register(Servicer(), interceptors=[interceptor])


def test_two_servicers_may_not_share_a_task() -> None:
    app = application("one", {SERVICE: handlers()})
    file = descriptor_pb2.FileDescriptorProto(
        name="other.proto", package="other", dependency=["google/protobuf/empty.proto"]
    )
    method = file.service.add(name="Other").method.add(name="Add")
    method.input_type = method.output_type = ".google.protobuf.Empty"
    method.options.Extensions[route_pb2.route].CopyFrom(route_pb2.Route(task=ADD, queue="q"))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(empty_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    with pytest.raises(
        RouteError, match=r"already belongs to forebay\.compute\.v1\.ComputeService\.Add"
    ):
        app.register(Duck(), pool.FindServiceByName("other.Other"))


def test_routes_come_from_a_file_that_is_given_or_from_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = calls_pb2.DESCRIPTOR.services_by_name["CallService"]
    handlers = {service: {"ListQueues": Orders().New}}
    table = '["forebay.v1.CallService.ListQueues"]\ntask = "{}"\nqueue = "q"\n[other.S.M]\nx = 1\n'
    (tmp_path / "given.toml").write_text(table.format("orders.given"))
    (tmp_path / "set.toml").write_text(table.format("orders.set"))
    given = application("one", handlers, routes=tmp_path / "given.toml")
    monkeypatch.setenv("FOREBAY_ROUTES", str(tmp_path / "set.toml"))
    by_setting = application("one")
    by_setting.serve(handlers)
    assert (tasks(given), tasks(by_setting)) == ({"orders.given"}, {"orders.set"})
    with pytest.raises(RouteError, match=r"absent\.toml: the routes can't be read"):
        application("one", handlers, routes="absent.toml")


def test_settings_are_not_read_where_every_method_has_its_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOREBAY_NO_SUCH_SETTING", "1")
    app = application("one", {mixed(): {"Old": print, "New": print}})
    monkeypatch.undo()
    assert tasks(app) == {"orders.old", "orders.new"}
