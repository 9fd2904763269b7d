"""Several Celery applications behind one gateway: each has its own broker and its own troubles."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import redis

from forebay.errors import ForebayError
from forebay.rpc_errors import of_rpc_error
from tests.contract.applications import (
    MAX_QUEUE_DEPTH,
    NAMES,
    PREFIX,
    Applications,
    applications,
    write_services,
)
from tests.contract.plain_site import error_of
from tests.harness import environment, eventually, forebay_gateway, process
from tests.rabbitmq import RabbitMQ

COMPUTE = "forebay.compute.v1.ComputeService"


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, rabbitmq: RabbitMQ
) -> Iterator[Applications]:
    folder = tmp_path_factory.mktemp("applications")
    with applications(folder, redis_url, rabbitmq) as running:
        eventually(lambda: running.health() == "SERVING", "the gateway serves")
        yield running


def name_of(several: Applications, application: str) -> object:
    """The name that the worker which runs the application's task has."""
    expression = "os.environ['PLAIN_NAME']"
    return several.call(f"{application.title()}.Do", "evaluate", expression)


def test_a_call_runs_in_the_application_of_its_route(several: Applications) -> None:
    assert [name_of(several, name) for name in NAMES] == list(NAMES)
    error = error_of(lambda: several.call("Mail.Do", "raise", "KeyError('x')"))
    assert (error.code_name, error.reason) == ("INTERNAL", "HANDLER_FAILED")
    for database in (several.shop.url, several.shop.url.removesuffix("0") + "1"):
        with redis.Redis.from_url(database) as server:
            assert all(key.startswith(PREFIX.encode()) for key in server.scan_iter())


def test_a_refused_task_is_withdrawn_from_its_applications_broker(several: Applications) -> None:
    for name in ("Shop", "Reports"):
        error = error_of(lambda name=name: several.call(f"{name}.Late", "answer", 1))
        assert (error.code_name, error.reason) == ("UNAVAILABLE", "QUEUE_WAIT"), name
    with redis.Redis.from_url(several.shop.url) as broker:
        assert broker.llen(f"{PREFIX}late") == 0


def test_a_full_queue_refuses_calls_of_its_application_only(several: Applications) -> None:
    def reason(name: str) -> str | None:
        return error_of(lambda: several.call(f"{name}.Late", "answer", 1)).reason

    with redis.Redis.from_url(several.shop.url) as broker:
        broker.lpush(f"{PREFIX}late", *range(MAX_QUEUE_DEPTH))
        eventually(lambda: reason("Shop") == "QUEUE_FULL", "the gateway has seen the full queue")
        assert reason("Reports") == "QUEUE_WAIT"
        broker.delete(f"{PREFIX}late")


def test_commands_show_each_application(several: Applications) -> None:
    shown = several.run("routes").succeeded().out
    assert all(f"plain task of {name}" in shown for name in NAMES)
    found = several.run("doctor").out
    for name in NAMES:
        assert f"ok      broker of application '{name}': " in found
    assert "ok      result backend of application 'reports': db+sqlite://…" in found
    assert "result backend of application 'mail'" not in found  # rpc:// is on the broker
    assert "guest:guest" not in found


@pytest.mark.variant
def test_the_outage_of_one_application_does_not_affect_the_others(several: Applications) -> None:
    assert several.health("apps.Shop") == "SERVING"
    waiting = []

    def wait_for_shop() -> None:
        try:
            several.call("Shop.Do", "sleep_until_soft_limit", None)
        except grpc.RpcError as error:
            waiting.append(of_rpc_error(error))

    caller = threading.Thread(target=wait_for_shop)
    caller.start()
    several.shop.kill()
    try:
        eventually(lambda: several.health("apps.Shop") == "NOT_SERVING", "the outage is noticed")
        error = error_of(lambda: several.call("Shop.Do", "answer", 1))
        assert (error.code_name, error.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
        assert "broker of application 'shop'" in error.message
        for name in ("mail", "reports"):
            assert name_of(several, name) == name
        for service in ("", COMPUTE, "apps.Mail", "apps.Reports"):
            assert several.health(service) == "SERVING", service
        found = several.run("doctor")
        assert "problem broker of application 'shop': " in found.out
        assert "set applications.shop.broker_url to one that runs" in found.out
        assert "ok      broker of application 'mail'" in found.out
        a_gateway_starts_without_the_application(several)
    finally:
        several.shop.start()
    several.restart_shops_worker()
    eventually(lambda: several.health("apps.Shop") == "SERVING", "the outage is over")
    assert name_of(several, "shop") == "shop"
    caller.join()
    assert all(isinstance(error, ForebayError) for error in waiting)
    outages = [line for line in several.gateway.lines if "does not answer" in line]
    assert any("the broker of application 'shop' does not answer" in line for line in outages)
    assert not [line for line in outages if "'mail'" in line or "'reports'" in line]


def a_gateway_starts_without_the_application(several: Applications) -> None:
    """Its main application has no method, so that it starts no embedded server either."""
    env = {**several.env, "FOREBAY_SERVICES": '["apps.binpb"]', "FOREBAY_DATA_DIR": "unused"}
    with (
        forebay_gateway(env=env, cwd=several.folder) as (gateway, address),
        grpc.insecure_channel(address) as channel,
    ):
        other = replace(several, env=env, address=address, gateway=gateway, channel=channel)
        eventually(lambda: other.health("apps.Mail") == "SERVING", "it serves the others")
        assert (other.health(), other.health("apps.Shop")) == ("SERVING", "NOT_SERVING")
        assert name_of(other, "reports") == "reports"
    assert not (several.folder / "unused").exists()


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        (
            {"FOREBAY_APPLICATIONS__SHP__BROKER_URL": "redis://127.0.0.1:1/0"},
            "names 'shop', which is not an application in the settings; did you mean `shp`?",
        ),
        (
            {
                "FOREBAY_APPLICATIONS__SHOP__BROKER_URL": "redis://127.0.0.1:1/0",
                "FOREBAY_APPLICATIONS__SHOP__RESULT_URL": "mongodb://u:pw@host/db",
            },
            "applications.shop.result_url: 'mongodb://…' can't be used: You need to install",
        ),
        (
            {"FOREBAY_APPLICATIONS__SHOP__BROKER_URL": "sqs://u:pw@host"},
            "applications.shop.broker_url: 'sqs://…' is not a Redis or Valkey URL",
        ),
    ],
)
def test_what_is_wrong_with_applications_keeps_a_gateway_from_starting(
    tmp_path: Path, variables: dict[str, str], problem: str
) -> None:
    write_services(tmp_path, ["shop"])
    env = environment(FOREBAY_SERVICES='["apps.binpb"]', FOREBAY_ROUTES="routes.toml", **variables)
    command = ["forebay", "gateway", "--listen", "127.0.0.1:0"]
    with process(*command, env=env, cwd=tmp_path) as gateway:
        assert gateway.ended() == 1
    assert problem in gateway.output
    assert "pw" not in gateway.output
