"""Pools that can't run handlers: a worker refuses them at startup."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from tests.echo.running import (
    COROUTINES_APP,
    ROOT,
    echo_environment,
    echo_gateway,
    echo_worker,
)
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import process, short_folder

TIMEOUT_S = 60.0
FOREIGN = """
from celery.concurrency.{base} import TaskPool
class Pool(TaskPool):
    pass
"""
PATCHED = """
from gevent import monkey
monkey.patch_all()
from tests.echo.worker import app
"""


def refused(app: str, *options: str, folder: Path, **variables: str) -> str:
    """The output of a worker that exits at startup."""
    env = echo_environment(FOREBAY_DATA_DIR=str(folder / "data"), **variables)
    command = ["celery", "-A", app, "worker", "-Q", "echo", *options]
    with process(*command, env=env, cwd=ROOT) as worker:
        assert worker.ended() == 1
        return worker.output


def test_a_worker_with_a_pool_of_green_threads_exits_with_advice() -> None:
    with short_folder() as folder:
        output = refused("tests.echo.worker", "--pool", "gevent", folder=folder)
    assert "the pool gevent is not supported" in output
    assert "prefork, threads and solo" in output
    assert "--pool threads" in output


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ('{"no.such/Method": {}}', "no check is installed for 'no.such/Method'"),
        ('{"forebay.compute.v1.ComputeService.Factorial": {"max": 1}}', "Factorial: {'max': 1}"),
    ],
)
def test_a_worker_whose_checks_have_wrong_options_exits(options: str, why: str) -> None:
    with short_folder() as folder:
        output = refused("tests.echo.worker", folder=folder, FOREBAY_CHECKS=options)
    assert "forebay: checks: " in output
    assert why in output
    assert "Traceback" not in output


@pytest.mark.variant
def test_a_call_that_waits_while_a_worker_is_refused_runs_on_the_next_one() -> None:
    with short_folder() as folder:
        env = echo_environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with echo_gateway(env) as (_, address), grpc.insecure_channel(address) as channel:
            call = EchoServiceStub(channel).ServerStream(EchoRequest(count=1), timeout=TIMEOUT_S)
            assert dict(call.initial_metadata())["forebay-attached"] == "new"
            refused(COROUTINES_APP, "--pool", "gevent", folder=folder)
            with echo_worker(env, "asyncio", app=COROUTINES_APP):
                assert [response.index for response in call] == [0]
            assert dict(call.trailing_metadata())["forebay-attempts"] == "1"


@pytest.mark.variant
@pytest.mark.parametrize("base", ["thread", "prefork", "solo"])
def test_coroutines_run_on_a_pool_that_is_neither_celerys_nor_forebays(base: str) -> None:
    with short_folder() as folder:
        (folder / "foreign.py").write_text(FOREIGN.format(base=base))
        env = echo_environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            CELERY_CUSTOM_WORKER_POOL="foreign:Pool",
            PYTHONPATH=f"{folder}:{ROOT}",
        )
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, "custom", app=COROUTINES_APP),
            grpc.insecure_channel(address) as channel,
        ):
            stub, request = EchoServiceStub(channel), EchoRequest(text="x", count=1)
            assert stub.Unary(request, timeout=TIMEOUT_S).text == "x"
            assert stub.Quick(request, timeout=TIMEOUT_S).text == "x"
            stream = stub.ServerStream(request, timeout=TIMEOUT_S)
            assert [response.text for response in stream] == ["x"]


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo"])
def test_a_worker_whose_threads_were_replaced_exits_with_advice(pool: str) -> None:
    with short_folder() as folder:
        (folder / "patched.py").write_text(PATCHED)
        output = refused("patched", "--pool", pool, folder=folder, PYTHONPATH=f"{folder}:{ROOT}")
    assert "green threads have replaced Python's threads" in output
    assert "prefork, threads and solo" in output
