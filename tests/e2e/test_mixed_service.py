"""A service of which one method has a plain task, and the other one a handler: both answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.routes import read_methods
from forebay.routes.sources import read_source
from tests.harness import environment, forebay_gateway, process, redis_server, short_folder
from tests.protoc import descriptor_set

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30.0
PROTO = """
syntax = "proto3";
package mixed.v1;
import "forebay/v1/route.proto";
service Orders {
  rpc Old(Order) returns (Order) {
    option (forebay.v1.route) = {task: "shop.old", queue: "old", plain: {}};
  }
  rpc New(Order) returns (Order) {
    option (forebay.v1.route) = {task: "orders.new", queue: "new"};
  }
}
message Order { int64 id = 1; }
"""
SHOP = """
import os

from celery import Celery

app = Celery("shop", broker=os.environ["FOREBAY_BROKER_URL"], backend="rpc://")


@app.task(name="shop.old")
def old(id):
    return {"id": id + 100}
"""
ORDERS = """
import os

from forebay.routes.sources import read_source
from forebay_workers import application

(SERVICE,) = read_source(os.environ["MIXED_SET"]).services


def new(order, context):
    return type(order)(id=order.id + 200)


app = application("orders", {SERVICE: {"New": new}})
"""


@contextlib.contextmanager
def celery(application: str, queue: str, env: dict[str, str], folder: Path) -> Iterator[None]:
    command = ["celery", "-A", application, "worker", "-Q", queue, "-l", "INFO", "-c", "1"]
    options = ["-n", f"{queue}@%h", "--without-mingle", "--without-gossip"]
    with process(*command, *options, env=env, cwd=folder) as worker:
        worker.wait_for(r" ready\.")
        yield


@contextlib.contextmanager
def by_commands(built: str, env: dict[str, str], folder: Path) -> Iterator[str]:
    """A gateway and a worker of the handlers, started one by one; the address."""
    served = env | {"FOREBAY_SERVICES": json.dumps([built])}
    with (
        forebay_gateway(env=served, cwd=folder) as (_, address),
        celery("orders_app", "new", served, folder),
    ):
        yield address


@contextlib.contextmanager
def by_up(built: str, env: dict[str, str], folder: Path) -> Iterator[str]:
    """`forebay up` with the application of the handlers; the address."""
    command = ["forebay", "up", "--listen", "127.0.0.1:0", "--service", built]
    with process(*command, "--app", "orders_app", "--concurrency", "1", env=env, cwd=folder) as up:
        yield up.wait_for(r"ready on (\S+)")[1]


@pytest.mark.variant
@pytest.mark.parametrize("start", [by_commands, by_up])
def test_both_methods_of_a_service_answer(start: Any) -> None:
    with short_folder() as folder, redis_server() as url:
        built = str(descriptor_set(PROTO, folder, "mixed.proto"))
        (folder / "shop_app.py").write_text(SHOP)
        (folder / "orders_app.py").write_text(ORDERS)
        env = environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_BROKER_URL=f"{url[:-1]}1",
            FOREBAY_DRAIN_S="0",
            MIXED_SET=built,
            PYTHONPATH=str(ROOT),
        )
        methods = {
            each.name.rpartition(".")[2]: each for each in read_methods(read_source(built).services)
        }
        with (
            celery("shop_app", "old", env, folder),
            start(built, env, folder) as address,
            grpc.insecure_channel(address) as channel,
        ):
            for name, expected in {"Old": 105, "New": 205}.items():
                method = methods[name]
                call = channel.unary_unary(
                    method.path,
                    request_serializer=method.request_class.SerializeToString,
                    response_deserializer=method.response_class.FromString,
                )
                answers = [call(method.request_class(id=5), timeout=TIMEOUT_S) for _ in range(5)]
                assert [answer.id for answer in answers] == [expected] * 5
