"""The Celery tutorial, unchanged, behind a gateway: every command of the example's README."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import run
from tests.harness import Process, environment, free_port, process, redis_server
from tests.rabbitmq import rabbitmq_node, require_rabbitmq

FOLDER = Path(__file__).parents[2] / "examples" / "tutorial"
README = (FOLDER / "README.md").read_text()
DEFAULT_ADDRESS = "127.0.0.1:50051"
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def lines(start: str) -> list[str]:
    """The README's shell lines with that prefix."""
    return [line for line in LINES if line.startswith(start)]


CONFIGURATIONS = (
    "redis+redis",
    pytest.param("rabbitmq+rpc", marks=pytest.mark.variant),
    pytest.param("redis+rpc", marks=pytest.mark.variant),
)


@dataclass(frozen=True)
class Tutorial:
    """The running tutorial: its environment and the gateway."""

    env: dict[str, str]
    address: str
    gateway: Process

    def run(self, line: str) -> str:
        """The output of a line of the README."""
        words = shlex.split(line.replace(DEFAULT_ADDRESS, self.address))
        words[0] = sys.executable if words[0] == "python" else words[0]
        return run(*words, env=self.env, cwd=FOLDER).succeeded().out


@contextmanager
def broker_and_results(configuration: str) -> Iterator[tuple[str, str]]:
    if configuration == "rabbitmq+rpc":
        require_rabbitmq()
        with rabbitmq_node() as node:
            yield node.url("tutorial"), "rpc://"
        return
    with redis_server() as url:
        yield url, "rpc://" if configuration == "redis+rpc" else f"{url[:-1]}1"


@contextmanager
def everything(configuration: str, **more: str) -> Iterator[Tutorial]:
    """The workers and the gateway, by the README's own commands."""
    with ExitStack() as running:
        broker, results = running.enter_context(broker_and_results(configuration))
        env = environment(TUTORIAL_BROKER_URL=broker, TUTORIAL_RESULT_BACKEND=results, **more)
        workers = [
            running.enter_context(process(*shlex.split(line), env=env, cwd=FOLDER))
            for line in lines("celery")
        ]
        for line in lines("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            (env[name],) = shlex.split(re.sub(r"\$(\w+)", lambda match: env[match[1]], value))
        address = f"127.0.0.1:{free_port()}"
        (start,) = lines("forebay gateway")
        command = shlex.split(start.replace(DEFAULT_ADDRESS, address))
        gateway = running.enter_context(process(*command, env=env, cwd=FOLDER))
        for one in workers:
            one.wait_for(r" ready\.")
        gateway.wait_for(r"ready on \S+")
        yield Tutorial(env, address, gateway)


@pytest.fixture(
    scope="module",
    params=CONFIGURATIONS,
)
def tutorial(request: pytest.FixtureRequest) -> Iterator[Tutorial]:
    with everything(request.param) as running:
        yield running


def test_the_client_makes_its_three_calls_and_prints_an_error(tutorial: Tutorial) -> None:
    (line,) = lines("python")
    factorial, too_long, product, total = tutorial.run(line).splitlines()
    assert int(factorial) == math.factorial(1000)
    assert too_long == "INTERNAL: the worker can't put the task's result into JSON"
    rows = json.loads(product)
    assert [len(row) for row in rows] == [20] * 20
    assert all(0 < entry < 20 for row in rows for entry in row)
    assert total == "10.0"
    tutorial.gateway.wait_for("needs PYTHONINTMAXSTRDIGITS=0 in the worker's environment")


def test_the_calls_from_a_shell_answer(tutorial: Tutorial) -> None:
    add, factorial, mat_mul = (json.loads(tutorial.run(line)) for line in lines("grpcurl"))
    assert add == {"sum": 10}
    assert factorial == {"digits": str(math.factorial(30))}
    assert [len(row["values"]) for row in mat_mul["rows"]] == [2, 2]


@pytest.mark.variant
def test_a_worker_without_pythons_limit_answers_with_all_digits() -> None:
    with everything("redis+redis", PYTHONINTMAXSTRDIGITS="0") as tutorial:
        (line,) = lines("python")
        _, digits, *_ = tutorial.run(line).splitlines()
    assert len(digits) == 77_338
    assert digits.startswith("18192063202303451348")
    assert digits.endswith("0" * 4_999)


def test_the_modules_are_the_tutorials_own() -> None:
    assert {path.name for path in FOLDER.glob("*.py") if "_pb2" not in path.name} == {
        "add_module.py",
        "factorial_module.py",
        "mat_mul_module.py",
        "celeryconfig.py",
        "call_modules.py",
    }
    for path in FOLDER.glob("*_module.py"):
        assert "forebay" not in path.read_text()


def test_the_page_on_plain_tasks_shows_the_tested_service() -> None:
    page = (FOLDER.parents[1] / "docs" / "plain-tasks.md").read_text()
    (rpc,) = re.findall(r"^```protobuf\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands, *_ = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert rpc in (FOLDER / "tutorial.proto").read_text()
    assert commands in README
