"""Each extra is complete for what it brings; commands of others name the extra to install."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Up
from tests.harness import BIN, free_port, process, redis_server, short_folder
from tests.installed import Installed, Wheel

OF_CLI = {
    *("call", "cancel", "describe", "errors", "logs", "ps"),
    *("queues", "top", "wait", "whoami", "workers"),
}
OF_GATEWAY = {"acl", "doctor", "gateway", "keys", "routes", "up"}
NEED_CLICK_ONLY = {"new", "protos"}


@pytest.mark.parametrize(
    ("extra", "lacks"),
    [
        ("cli", OF_GATEWAY | {"import"}),
        ("gateway", set()),
        ("workers", OF_CLI | OF_GATEWAY),  # `import` works where the application's tasks are
    ],
)
def test_help_names_the_extra_of_each_command_that_is_not_installed(
    wheel: Wheel, extra: str, lacks: set[str]
) -> None:
    listed = wheel.installed(extra).succeeds("forebay", "--help", COLUMNS="80")
    commands = dict(re.findall(r"^  (\w+) +(\S.*)$", listed.partition("Commands:")[2], re.M))
    assert commands.keys() >= OF_CLI | OF_GATEWAY | NEED_CLICK_ONLY
    assert {name for name, text in commands.items() if "not installed" in text} == lacks
    for name in lacks:
        of = "cli" if name in OF_CLI else "gateway"
        assert commands[name] == f"(not installed: pip install 'forebay[{of}]')"


@pytest.mark.parametrize(
    ("extra", "command", "missing"),
    [
        ("", "--help", "cli"),
        ("", "call Add x=1 y=2", "cli"),
        ("workers", "call Add x=1 y=2", "cli"),
        ("workers", "ps --help", "cli"),
        ("workers", "up --listen 127.0.0.1:0", "gateway"),
        ("cli", "up --listen 127.0.0.1:0", "gateway"),
        ("cli", "routes -h", "gateway"),
        ("gateway", "up --listen 127.0.0.1:0", "workers"),
    ],
)
def test_a_command_whose_extra_is_missing_says_which_one_to_install(
    wheel: Wheel, tmp_path: Path, extra: str, command: str, missing: str
) -> None:
    failed = wheel.installed(extra).run(
        "forebay", *shlex.split(command), FOREBAY_DATA_DIR=str(tmp_path)
    )
    assert failed.returncode == 1, failed.stdout
    assert f"pip install 'forebay[{missing}]'" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_celery_says_which_extra_a_worker_needs(wheel: Wheel) -> None:
    failed = wheel.installed("gateway").run("celery", "-A", "forebay_workers", "worker")
    assert failed.returncode != 0
    *_, last = failed.stderr.strip().splitlines()
    assert last.startswith("ImportError: the module forebay_workers needs ")
    assert "gmpy2" in last
    assert last.endswith("pip install 'forebay[workers]'")


def test_what_a_command_says_to_install_is_enough_for_it(
    up: Up, wheel: Wheel, tmp_path: Path
) -> None:
    own = Installed(tmp_path / "venv")
    own.install(str(wheel.path))
    said = own.run("forebay", "call", "Add", "x=4", "y=6").stderr
    _, requirement = shlex.split(said.partition("pip ")[2])
    own.install(requirement)
    assert own.succeeds("forebay", "call", "-t", up.address, "Add", "x=4", "y=6") == (
        '{"sum": 10.0}\n'
    )


def test_the_hint_to_a_command_of_another_extra_says_so(wheel: Wheel) -> None:
    command = ("forebay", "call", "--no-resume", "-t", f"127.0.0.1:{free_port()}", "Add")
    by_cli = wheel.installed("cli").run(*command).stderr
    assert "`forebay doctor" in by_cli
    assert "(needs pip install 'forebay[gateway]')" in by_cli
    by_gateway = wheel.installed("gateway").run(*command).stderr
    assert "`forebay doctor" in by_gateway
    assert "pip install" not in by_gateway


@pytest.mark.variant
def test_a_client_a_gateway_and_a_worker_run_with_their_extras_alone(wheel: Wheel) -> None:
    client, gateway, worker = (wheel.installed(extra) for extra in ("cli", "gateway", "workers"))
    with redis_server() as ledger, ExitStack() as running:
        settings = {"FOREBAY_LEDGER_URL": ledger}
        celery = [str(worker.bin / "celery"), "-A", "forebay_workers", "worker"]
        options = ["-Q", "add,factorial,mat_mul", "-c", "1", "--pool", "threads", "-l", "INFO"]
        started = process(*celery, *options, env={**worker.env, **settings}, cwd=worker.bin)
        ready = running.enter_context(started)
        serve = [str(gateway.bin / "forebay"), "gateway", "--listen", "127.0.0.1:0"]
        started = process(*serve, env={**gateway.env, **settings}, cwd=gateway.bin)
        address = running.enter_context(started).wait_for(r"ready on (\S+)")[1]
        ready.wait_for(r" ready\.")

        def forebay(*arguments: str) -> str:
            return client.succeeds("forebay", *arguments, FOREBAY_ADDRESS=address)

        assert forebay("call", "MatMul", "random.m=2", "random.n=2", "--id", "product-1")
        assert "product-1" in forebay("ps", "--all")
        assert forebay("logs", "product-1")
        assert "mat_mul" in forebay("queues")
        assert gateway.succeeds("forebay", "doctor", "--listen", address, **settings)


def test_a_gateway_whose_system_has_no_ngh2_serves_by_grpc(wheel: Wheel, tmp_path: Path) -> None:
    gateway = wheel.installed("gateway")
    (tmp_path / "ngh2.py").write_text('raise ImportError("no wheel for this system")')
    command = [str(gateway.bin / "forebay"), "gateway", "--listen", "127.0.0.1:0"]
    with short_folder() as data:
        env = {**gateway.env, "FOREBAY_DATA_DIR": str(data), "PYTHONPATH": str(tmp_path)}
        env.pop("FOREBAY_FRONT", None)
        with process(*command, env=env, cwd=gateway.bin) as running:
            address = running.wait_for(r"ready on (\S+)")[1]
            listed = gateway.succeeds(BIN / "grpcurl", "-plaintext", address, "list")
        assert "forebay.compute.v1.ComputeService" in listed
        assert running.output.count("no wheel for this system") == 1
