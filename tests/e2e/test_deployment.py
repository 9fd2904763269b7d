"""The files of examples/deployment: checked by their schemas, and their commands are run.

No container engine and no cluster is needed. What they would start is started here: each file's
commands, with the same settings.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import run
from tests.harness import BIN, environment, free_port, process, redis_server
from tests.pages import DOCS, blocks

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "deployment"
UNITS = ("forebay-gateway.service", "forebay-worker@.service")
INSTALLED_AT = "/opt/forebay/bin"


@pytest.mark.parametrize(
    "command",
    [
        "hadolint Dockerfile",
        "check-jsonschema --builtin-schema vendor.compose-spec compose.yaml",
        "kubernetes-validate --strict kubernetes.yaml",
    ],
)
def test_a_file_is_valid_by_its_schema(command: str) -> None:
    run(*shlex.split(command), env=environment(), cwd=EXAMPLES).succeeded()


def test_the_units_are_valid(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing = "systemd-analyze is not installed (Debian: apt-get install systemd)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    for name in UNITS:
        text = (EXAMPLES / name).read_text()
        assert INSTALLED_AT in text
        instance = name.replace("@.", "@add.")
        (tmp_path / instance).write_text(text.replace(INSTALLED_AT, str(BIN)))
        checked = run(
            "systemd-analyze", "verify", str(tmp_path / instance), env=environment()
        ).succeeded()
        assert (checked.out, checked.err) == ("", "")


@pytest.mark.variant
def test_their_commands_serve_calls_until_sigterm() -> None:
    gateways, workers = commands()
    assert len(gateways) == 4
    assert len(workers) == 3
    assert {command[0] for command in gateways} == {"forebay"}
    assert {tuple(command) for command in gateways} == {("forebay", "gateway")}
    address = f"127.0.0.1:{free_port()}"
    with redis_server() as ledger, ExitStack() as running:
        env = environment(FOREBAY_LEDGER_URL=ledger, FOREBAY_LISTEN=address, FOREBAY_DRAIN_S="1")
        gateway = running.enter_context(process(*gateways[0], env=env))
        started = [
            running.enter_context(process(*command, env=env, cwd=ROOT)) for command in workers
        ]
        gateway.wait_for(r"ready on \S+")
        for worker in started:
            worker.wait_for(r" ready\.")
        called = run("forebay", "call", "--target", address, "Add", "x=4", "y=6", env=env)
        assert called.succeeded().out == '{"sum": 10.0}\n'
        assert health(address) == (0, f"{address}: SERVING\n")
        assert gateway.stop(signal.SIGTERM) == 0
        assert health(address) == (1, f"{address}: UNAVAILABLE\n")


def health(address: str) -> tuple[int, str]:
    """The exit code of the check of compose.yaml, and what it prints."""
    checked = run("python", str(EXAMPLES / "health.py"), address, env=environment())
    return checked.code, checked.out


def commands() -> tuple[list[list[str]], list[list[str]]]:
    """The commands of gateways and of workers in all files."""
    texts = [
        line.removeprefix("ExecStart=").replace(f"{INSTALLED_AT}/", "").replace("%%", "%")
        for name in UNITS
        for line in (EXAMPLES / name).read_text().splitlines()
        if line.startswith("ExecStart=")
    ]
    found = [shlex.split(text.replace("%i", "add")) for text in texts]
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]
    found += [shlex.split(services[name]["command"]) for name in ("gateway", "worker")]
    for resource in yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()):
        if resource["kind"] == "Deployment":
            found += [container["args"] for container in containers(resource)]
    (image,) = [
        line.removeprefix("CMD ")
        for line in (EXAMPLES / "Dockerfile").read_text().splitlines()
        if line.startswith("CMD ")
    ]
    found.append(yaml.safe_load(image))
    return (
        [command for command in found if "gateway" in command],
        [command for command in found if command[0] == "celery"],
    )


def containers(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    return list(deployment["spec"]["template"]["spec"]["containers"])


def test_the_pages_show_parts_of_the_files() -> None:
    shown = [
        block
        for page in ("deployment.md", "proxies.md")
        for block in blocks(DOCS / page)
        if block.title
    ]
    assert {Path(block.title).parts[1] for block in shown} == {"deployment", "proxies"}
    for block in shown:
        assert block.text in (ROOT / block.title).read_text(), block.place
