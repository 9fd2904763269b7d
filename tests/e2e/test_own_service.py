"""A user's own service: served from a descriptor set, run by workers without stubs.

The gateway's set is newer than the workers', as during a rolling upgrade.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core.operations_v1 import OperationsClient
from google.protobuf import message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.errors import ForebayError
from forebay.routes import Method, read_methods
from forebay.routes.sources import Source, read_source
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from tests.commands import Ran, run
from tests.harness import (
    Process,
    environment,
    eventually,
    forebay_gateway,
    forebay_up,
    process,
    short_folder,
)
from tests.orders import sets

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Shop:
    """A gateway of the service and a worker."""

    address: str
    env: dict[str, str]
    gateway: Process
    worker: Process
    source: Source
    channel: grpc.Channel

    @property
    def methods(self) -> dict[str, Method]:
        """The methods by their short names, with classes of the set's messages."""
        return {one.name.rpartition(".")[2]: one for one in read_methods(self.source.services)}

    def message(self, name: str, **fields: Any) -> Message:
        """A message of a type in the set."""
        descriptor = self.source.pool.FindMessageTypeByName(f"shop.v1.{name}")
        return message_factory.GetMessageClass(descriptor)(**fields)

    def call(
        self,
        name: str,
        *orders: dict[str, Any],
        timeout: float = TIMEOUT_S,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> list[Any]:
        """All responses; raises ForebayError."""
        method = self.methods[name]
        stub = self.channel.stream_stream(
            method.path,
            request_serializer=method.request_class.SerializeToString,
            response_deserializer=method.response_class.FromString,
        )
        requests = (self.message("Order", **order) for order in orders)
        try:
            return list(stub(requests, timeout=timeout, metadata=tuple(metadata)))
        except grpc.RpcError as error:
            raise of_rpc_error(error) from error

    def served(self) -> dict[str, calls_pb2.ServedMethod]:
        """The methods as CallService lists them, by their short names."""
        answer = CallServiceStub(self.channel).ListMethods(
            calls_pb2.ListMethodsRequest(), timeout=TIMEOUT_S
        )
        return {method.name.rpartition(".")[2]: method for method in answer.methods}

    def run(self, *command: str) -> Ran:
        """Runs a `forebay` command on the gateway."""
        return run("forebay", *command, env=self.env)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with short_folder() as folder:
        now, before = sets.build("now", folder), sets.build("before", folder)
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES=json.dumps([str(now)]),
            ORDERS_SET=str(before),
        )
        celery = ["celery", "-A", "tests.orders.worker", "worker", "-Q", "orders", "-l", "INFO"]
        options = ["--pool", "threads", "--concurrency", "2", "--without-mingle"]
        with (
            forebay_gateway(env=env, cwd=ROOT) as (gateway, address),
            process(*celery, *options, "--without-gossip", env=env, cwd=ROOT) as worker,
            grpc.insecure_channel(address) as channel,
        ):
            worker.wait_for(r" ready\.")
            env["FOREBAY_ADDRESS"] = address
            shop = Shop(address, env, gateway, worker, read_source(str(now)), channel)
            eventually(lambda: bool(shop.served()["Place"].workers), "the gateway sees the worker")
            yield shop


def refused(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ForebayError) as caught:
        call()
    return caught.value.code_name, caught.value.reason


def test_calls_of_every_kind_are_served_from_a_descriptor_set(shop: Shop) -> None:
    (price,) = shop.call("Quote", {"item": "tea", "count": 2})
    assert price.total == 5.0
    order = {"item": "tea", "count": 3, "due": {"seconds": 7}}
    (receipt,) = shop.call("Place", order, metadata=[("x-tenant", "acme")])
    assert (receipt.text, receipt.due.seconds) == ("3 tea for acme", 7)
    events = shop.call("Track", {"item": "tea", "count": 3})
    assert [event.step for event in events if event.HasField("step")] == ["tea 0", "tea 1", "tea 2"]
    (many,) = shop.call("PlaceMany", {"item": "tea"}, {"item": "milk"})
    assert many.text == "tea, milk"


def test_a_handlers_status_and_the_routes_limits_apply(shop: Shop) -> None:
    assert refused(lambda: shop.call("Place", {})) == ("INVALID_ARGUMENT", "HANDLER_ABORTED")
    large = {"item": "x" * 1000}
    assert refused(lambda: shop.call("Place", large)) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")


def test_a_method_without_a_route_is_not_served(shop: Shop) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        shop.channel.unary_unary("/shop.v1.Orders/Unrouted")(b"", timeout=TIMEOUT_S)
    assert of_rpc_error(caught.value).reason == "METHOD_UNKNOWN"


def test_an_ephemeral_call_ends_with_its_run_time(shop: Shop) -> None:
    assert refused(lambda: shop.call("Ponder", {})) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    shop.worker.wait_for("pondering ended, active: False")
    assert shop.call("Quote", {"count": 1})[0].total == 2.5


def test_an_ephemeral_call_that_detaches_has_a_record(shop: Shop) -> None:
    shop.call("Quote", {"count": 1}, metadata=[("forebay-on-disconnect", "detach")])
    listed = OperationsClient(shop.channel).list_operations("operations", 'method = "*.Quote"')
    assert [operation.done for operation in listed] == [True]


def test_a_client_can_call_by_reflection_alone(shop: Shop) -> None:
    def grpcurl(*words: str) -> str:
        return run("grpcurl", "-plaintext", *words, env=shop.env).succeeded().out

    assert "shop.v1.Orders\n" in grpcurl(shop.address, "list")
    described = grpcurl(shop.address, "describe", "shop.v1.Orders.Place")
    assert '"orders.place"' in described
    assert "forebay.v1.route" in described
    order = '{"item": "tea", "count": 1, "due": "2030-01-02T03:04:05Z"}'
    answer = json.loads(grpcurl("-d", order, shop.address, "shop.v1.Orders/Place"))
    assert answer == {"text": "1 tea for nobody", "due": "2030-01-02T03:04:05Z"}


def test_health_knows_the_service(shop: Shop) -> None:
    stub: Any = health_pb2_grpc.HealthStub(shop.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service="shop.v1.Orders"), timeout=TIMEOUT_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_operations_have_responses_of_their_real_types(shop: Shop) -> None:
    shop.call("Track", {"item": "tea", "count": 2}, metadata=[("forebay-call-id", "typed")])
    operation = OperationsClient(shop.channel).get_operation("operations/typed")
    event = shop.message("Event")
    assert operation.response.Unpack(event)
    assert event == shop.message("Event", step="tea 1")


def test_the_command_line_reads_the_set_that_the_gateway_serves(shop: Shop) -> None:
    called = shop.run("call", "Place", "item=tea", "count=2", "due=2030-01-02T03:04:05Z")
    assert called.succeeded().messages == [
        {"text": "2 tea for nobody", "due": "2030-01-02T03:04:05Z"}
    ]
    shop.run("call", "Track", "item=milk", "count=2", "--id", "tracked").succeeded()
    logs = shop.run("logs", "tracked").succeeded()
    assert logs.messages == [{"step": "milk 0"}, {"step": "milk 1"}]
    assert "shop.v1.Orders.Track" in shop.run("ps", "--all").succeeded().out


@pytest.mark.parametrize("name", ["Forget", "ForgetQuickly"])
def test_a_task_that_no_worker_has_ends_the_call_at_once(shop: Shop, name: str) -> None:
    assert refused(lambda: shop.call(name, {}, timeout=12.0)) == (
        "UNIMPLEMENTED",
        "TASK_UNKNOWN",
    )
    shop.worker.wait_for("is registered neither here nor by another live worker of queue 'orders'")


@pytest.mark.parametrize("name", ["Cancel", "Archive"])
def test_a_task_that_moved_to_another_method_is_not_run(shop: Shop, name: str) -> None:
    assert refused(lambda: shop.call(name, {"item": "tea"})) == (
        "FAILED_PRECONDITION",
        "VERSION_MISMATCH",
    )
    shop.worker.wait_for(
        f"of shop.v1.Orders.{name}, .*deploy the same version of the service's protobuf"
    )


@pytest.mark.parametrize("name", ["Quote", "Place", "Track", "PlaceMany"])
def test_a_field_that_only_the_gateway_knows_is_refused_not_ignored(shop: Shop, name: str) -> None:
    assert refused(lambda: shop.call(name, {"item": "tea", "express": True})) == (
        "FAILED_PRECONDITION",
        "VERSION_MISMATCH",
    )
    shop.worker.wait_for("is not run: the request has fields of shop.v1.Order that the worker does")


def test_the_call_service_lists_each_method_and_its_workers(shop: Shop) -> None:
    served = shop.served()
    assert sorted(served) == sorted(shop.methods)
    place = served["Place"]
    assert (place.task, place.queue, place.slots) == ("orders.place", "orders", 2)
    assert len(place.workers) == 1
    assert place.workers[0].startswith("celery@")
    kinds = {name: [problem.kind for problem in method.problems] for name, method in served.items()}
    assert kinds["Place"] == [calls_pb2.METHOD_PROBLEM_KIND_OTHER_MESSAGES]
    assert kinds["Forget"] == kinds["Cancel"] == [calls_pb2.METHOD_PROBLEM_KIND_TASK_UNREGISTERED]
    assert kinds["Ship"] == [calls_pb2.METHOD_PROBLEM_KIND_NO_CONSUMER]
    assert not served["Ship"].workers
    assert all(p.description and p.fix for method in served.values() for p in method.problems)


def test_routes_and_doctor_report_the_problems_of_each_method(shop: Shop) -> None:
    lines = shop.run("routes").succeeded().out.splitlines()
    rows = {row[0].rpartition(".")[2]: row[5:] for row in (line.split("\t") for line in lines)}
    assert rows["method"] == ["consumers", "problems"]
    assert rows["Place"][0] == "2"
    assert "different versions of its messages" in rows["Place"][1]
    assert rows["Ship"] == ["0", "no live worker consumes queue 'docks'"]
    assert "without task 'orders.forget'" in rows["Forget"][1]
    examined = shop.run("doctor", "--listen", shop.address)
    assert examined.code == 1
    assert "method shop.v1.Orders.Forget: celery@" in examined.out
    assert "queue docks: no live worker consumes it" in examined.out


def test_the_gateway_warns_once_of_each_mismatch(shop: Shop) -> None:
    shop.gateway.wait_for("Orders.Ship: no live worker consumes queue 'docks'; to fix it: celery")
    shop.gateway.wait_for("Orders.Forget: celery@.* without task 'orders.forget'")
    shop.call("Quote", {"count": 1})
    assert shop.gateway.output.count("no live worker consumes queue 'docks'") == 1


@pytest.mark.variant
def test_everything_is_up_with_an_application_of_ones_own() -> None:
    with short_folder() as folder:
        own = str(sets.build("before", folder))
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"), ORDERS_SET=own)
        with forebay_up("--service", own, "--app", "tests.orders.worker", env=env) as (_, address):
            called = run(
                *["forebay", "call", "--target", address, "--service", own],
                *["Quote", "item=tea", "count=2"],
                env=env,
            )
            assert called.succeeded().messages == [{"total": 5.0}]
        wrong = run("forebay", "up", "--service", own, "--listen", "127.0.0.1:0", env=env)
        assert wrong.code == 1
        assert "shop.v1.Orders.Quote: forebay-orders-" in wrong.err
        assert "without task 'orders.quote' of this method" in wrong.err
        assert "name the application that registers it with --app" in wrong.err
        assert "Traceback" not in wrong.err
