"""Fleets in which some processes have keys, and keys that change while calls run."""

from __future__ import annotations

import uuid
from pathlib import Path

import grpc
import pytest
from celery import Celery

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.urls import celery_settings
from tests.commands import run
from tests.contract.systems import backends_of
from tests.contract.test_signed_messages import keys_file
from tests.harness import Process, environment, eventually, forebay_gateway, worker

CALL_S = 40.0


def calls_succeed(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = ComputeServiceStub(channel)
        for metadata in ((), (("forebay-call-id", str(uuid.uuid4())),)):
            request = pb.AddRequest(x=4, y=6)
            assert stub.Add(request, timeout=CALL_S, metadata=metadata).sum == 10


@pytest.mark.parametrize("command", ["gateway", "worker"])
def test_a_process_does_not_start_with_a_bad_file(tmp_path: Path, command: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('[keys]\na = "c2hvcnQ="\n')
    env = environment(FOREBAY_SIGNING_KEYS=str(path), FOREBAY_LEDGER_URL="redis://127.0.0.1:1/0")
    started = {
        "gateway": ("forebay", "gateway", "--listen", "127.0.0.1:0"),
        "worker": ("celery", "-A", "forebay_workers", "worker", "-c", "1"),
    }[command]
    ran = run(*started, env=env)
    printed = ran.out + ran.err
    assert ran.code != 0
    assert "key a: expected 32 bytes or more in base64" in printed
    assert "Traceback" not in printed
    assert "c2hvcnQ" not in printed


@pytest.mark.variant
@pytest.mark.parametrize("keyed", ["gateway", "worker"])
def test_while_signatures_are_not_required_calls_work_with_keys_at_one_side(
    redis_url: str, tmp_path: Path, keyed: str
) -> None:
    plain = {"FOREBAY_LEDGER_URL": f"{redis_url}8"}
    keys = {
        "FOREBAY_SIGNING_KEYS": str(keys_file(tmp_path, "new")),
        "FOREBAY_SIGNING_REQUIRED": "false",
    }
    envs = {
        name: environment(**plain, **(keys if name == keyed else {}))
        for name in ("gateway", "worker")
    }
    with (
        forebay_gateway(env=envs["gateway"]) as (_, address),
        worker("-Q", "add", "-c", "1", env=envs["worker"]),
    ):
        calls_succeed(address)


@pytest.mark.variant
def test_keys_rotate_while_gateway_and_worker_run(redis_url: str, tmp_path: Path) -> None:
    path = keys_file(tmp_path, "old")
    env = environment(FOREBAY_LEDGER_URL=f"{redis_url}8", FOREBAY_SIGNING_KEYS=str(path))
    with (
        forebay_gateway("--log-level", "INFO", env=env) as (gateway, address),
        worker("-Q", "add", "-c", "1", env=env) as running,
    ):
        calls_succeed(address)

        def change(*names: str) -> None:
            """At once here; every process takes it in by itself, and calls work meanwhile."""
            before = {one: loads(one) for one in (gateway, running)}
            keys_file(tmp_path, *names)
            calls_succeed(address)
            # The worker's main process and its child.
            eventually(lambda: loads(gateway) >= before[gateway] + 1, "the gateway has the keys")
            eventually(lambda: loads(running) >= before[running] + 2, "the worker has the keys")
            calls_succeed(address)

        change("old", "new")
        change("new", "old")
        change("new")


def loads(process: Process) -> int:
    return process.output.count("the file of signing keys was loaded again")


@pytest.mark.variant
def test_remote_control_is_obeyed_if_it_is_asked_for(redis_url: str, tmp_path: Path) -> None:
    variables = {
        "FOREBAY_LEDGER_URL": f"{redis_url}8",
        "FOREBAY_SIGNING_KEYS": str(keys_file(tmp_path, "new")),
        "FOREBAY_REMOTE_CONTROL": "true",
    }
    with (
        worker("-Q", "add", "-c", "1", env=environment(**variables)) as running,
        Celery(set_as_current=False) as app,
    ):
        app.config_from_object(celery_settings(backends_of(variables)))
        eventually(lambda: bool(app.control.ping(timeout=1.0)), "the worker answers")
        app.control.broadcast("shutdown")
        running.ended()
