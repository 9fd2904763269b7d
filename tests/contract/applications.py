"""Three Celery applications on brokers and result backends of their own, behind one gateway.

All have the same tasks and queues. Their services are described here, without a route: the routes
are in a file.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.routes import Method
from forebay.routes.sources import read_all_methods
from tests.commands import Ran, run
from tests.contract.plain_site import ROOT
from tests.faults.backend import Server, server
from tests.harness import Process, environment, forebay_gateway, process
from tests.rabbitmq import RabbitMQ
from tests.unit.described import write_set

NAMES = ("shop", "mail", "reports")
TIMEOUT_S = 30.0
PREFIX = "shop-team:"
"""Of the keys of one application on its Redis."""
MAX_QUEUE_DEPTH = 5


@dataclass(frozen=True)
class Applications:
    """A gateway, the worker of each application, and the Redis of one that may be killed."""

    folder: Path
    env: dict[str, str]
    address: str
    gateway: Process
    channel: grpc.Channel
    shop: Server
    restart_shops_worker: Callable[[], None]
    methods: dict[str, Method] = field(repr=False)

    def call(self, method: str, what: str, value: Any, timeout_s: float | None = TIMEOUT_S) -> Any:
        """What the method's task returns; `method` is such as "Shop.Do"."""
        found = self.methods[f"apps.{method}"]
        invoke: Any = self.channel.unary_unary(
            found.path,
            request_serializer=found.request_class.SerializeToString,
            response_deserializer=found.response_class.FromString,
        )
        request = ParseDict(
            {"what": what, "with": value}, found.request_class(), descriptor_pool=found.pool
        )
        answer = invoke(request, timeout=timeout_s)
        return MessageToDict(answer, descriptor_pool=found.pool).get("value")

    def health(self, service: str = "") -> str:
        """The status of a service or, without a name, of the gateway."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest(service=service)
        status = stub.Check(request, timeout=TIMEOUT_S).status
        return health_pb2.HealthCheckResponse.ServingStatus.Name(status)

    def run(self, *command: str) -> Ran:
        """A command of ours."""
        return run("forebay", *command, env={**self.env, "COLUMNS": "250"}, cwd=self.folder)


@contextlib.contextmanager
def applications(folder: Path, redis_url: str, rabbitmq: RabbitMQ) -> Iterator[Applications]:
    """Starts all of it."""
    with server("no") as shop, contextlib.ExitStack() as stack:
        urls = {
            "shop": (shop.url, shop.url.removesuffix("0") + "1"),
            "mail": (rabbitmq.url("applications"), "rpc://"),
            "reports": (f"{redis_url}14", f"db+sqlite:///{folder}/results.db"),
        }
        env = _configuration(folder, urls)
        workers = [
            stack.enter_context(_worker(name, broker, results))
            for name, (broker, results) in urls.items()
        ]
        for worker in workers:
            worker.wait_for(r" ready\.")

        def restart_shops_worker() -> None:
            """As its supervisor does: a Celery worker may end with its Redis, or wait long."""
            workers[0].stop(signal.SIGKILL)
            workers[0] = stack.enter_context(_worker("shop", *urls["shop"]))
            workers[0].wait_for(r" ready\.")

        gateway, address = stack.enter_context(forebay_gateway(env=env, cwd=folder))
        channel = stack.enter_context(grpc.insecure_channel(address))
        found = read_all_methods([str(folder / "apps.binpb")], routes=folder / "routes.toml")
        methods = {method.name: method for method in found}
        env |= {"FOREBAY_LISTEN": address}
        yield Applications(
            folder, env, address, gateway, channel, shop, restart_shops_worker, methods
        )


def _worker(name: str, broker: str, results: str) -> contextlib.AbstractContextManager[Process]:
    """Starts the worker of an application."""
    theirs = {"PLAIN_BROKER_URL": broker, "PLAIN_RESULT_BACKEND": results, "PLAIN_NAME": name}
    if name == "shop":
        theirs["PLAIN_KEY_PREFIX"] = PREFIX
    command = ["celery", "-A", "tests.plain.app", "worker", "-Q", "plain", "--without-mingle"]
    options = ["--hostname", f"{name}@%h", "--pool", "threads", "--concurrency", "2", "-l", "INFO"]
    return process(*command, *options, env=environment(**theirs), cwd=ROOT)


def _configuration(folder: Path, urls: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Writes services, routes and settings; one application's broker is set by a variable."""
    write_services(folder, NAMES)
    services = [str(folder / "apps.binpb"), "forebay.compute.v1.compute_pb2"]
    text = f'services = {json.dumps(services)}\nroutes = "routes.toml"\ndata_dir = "data"\n'
    text += f"lame_duck_s = 0\ndrain_s = 0.2\nmax_queue_depth = {MAX_QUEUE_DEPTH}\n"
    for name, (broker, results) in urls.items():
        text += f'[applications.{name}]\nresult_url = "{results}"\n'
        text += f'broker_url = "{broker}"\n' if name != "mail" else ""
        text += f'key_prefix = "{PREFIX}"\n' if name == "shop" else ""
    (folder / "forebay.toml").write_text(text)
    return environment(
        FOREBAY_CONFIG=str(folder / "forebay.toml"),
        FOREBAY_APPLICATIONS__MAIL__BROKER_URL=urls["mail"][0],
    )


def write_services(folder: Path, routed: Sequence[str]) -> None:
    """Writes `apps.binpb`, and `routes.toml` with routes to these applications."""
    write_set(folder / "apps.binpb", _file_of(struct_pb2), _services())
    (folder / "routes.toml").write_text("\n".join(map(_routes, routed)))


def _routes(name: str) -> str:
    return f"""
["apps.{name.title()}.Do"]
task = "plain.do"
queue = "plain"
plain = {{application = "{name}"}}
["apps.{name.title()}.Late"]
task = "plain.do"
queue = "late"
plain = {{application = "{name}"}}
limits = {{queue_wait = "1s"}}
"""


def _file_of(module: Any) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


def _services() -> FileDescriptorProto:
    value = ".google.protobuf.Value"
    file = FileDescriptorProto(
        name="apps.proto",
        package="apps",
        syntax="proto3",
        dependency=["google/protobuf/struct.proto"],
    )
    request, done = file.message_type.add(name="Request"), file.message_type.add(name="Done")
    request.field.add(name="what", number=1, type=FieldDescriptorProto.TYPE_STRING)
    request.field.add(
        name="with", number=2, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=value
    )
    done.field.add(name="value", number=1, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=value)
    for message in file.message_type:
        for one in message.field:
            one.label = FieldDescriptorProto.LABEL_OPTIONAL
    for name in NAMES:
        service = file.service.add(name=name.title())
        for method in ("Do", "Late"):
            service.method.add(name=method, input_type=".apps.Request", output_type=".apps.Done")
    return file
