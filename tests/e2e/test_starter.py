"""`forebay new`: the project runs without changes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.commands import Ran, json_values, run
from tests.harness import environment, free_port, process, short_folder

ROOT = Path(__file__).parents[2]
PYTEST_OPTIONS = "-W error -p no:asyncio -p no:cacheprovider"


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """A project named weather, as generated."""
    with short_folder() as folder:
        created = run("forebay", "new", "weather", env=environment(), cwd=folder).succeeded()
        assert created.out.endswith("next: cd weather && make test\n")
        yield folder / "weather"


def make(project: Path, *arguments: str) -> Ran:
    env = environment(PYTEST_ADDOPTS=PYTEST_OPTIONS)
    return run("make", *arguments, env=env, cwd=project)


def test_a_generated_project_passes_its_own_tests(project: Path) -> None:
    assert "4 passed" in make(project, "test").succeeded().out


def test_its_stubs_are_what_its_makefile_generates(project: Path) -> None:
    stubs = sorted((project / "weather" / "v1").glob("weather_pb2*"))
    assert len(stubs) == 3
    before = [stub.read_bytes() for stub in stubs]
    for stub in stubs:
        stub.unlink()
    make(project, "proto").succeeded()
    assert [stub.read_bytes() for stub in stubs] == before


def test_a_change_of_the_contract_regenerates_the_stubs(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "weather"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("data"))
    proto = copy / "protos" / "weather" / "v1" / "weather.proto"
    changed = proto.read_text().replace("string text = 1;", "string text = 1;\n  bool b = 2;")
    proto.write_text(changed)
    make(copy, "weather/v1/weather_pb2.py").succeeded()
    assert "b: bool" in (copy / "weather" / "v1" / "weather_pb2.pyi").read_text()


def test_its_makefile_lists_its_targets(project: Path) -> None:
    listed = re.findall(r"^\w+", make(project, "help").succeeded().out, re.MULTILINE)
    assert listed == ["help", "setup", "proto", "test", "run", "gateway", "worker"]


def commands(project: Path) -> list[str]:
    """The commands in the project's README."""
    readme = (project / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("forebay ", "grpcurl "))]


def test_a_generated_project_runs_the_commands_of_its_readme(project: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    env = environment(FOREBAY_DATA_DIR=str(project / "data"), FOREBAY_LISTEN=address)
    said: dict[str, str] = {}
    with process("make", "run", env=env, cwd=project) as running:
        running.wait_for(rf"ready on {address}")
        processes = psutil.Process(running.popen.pid).children(recursive=True)
        for command in commands(project):
            words = shlex.split(command.replace("127.0.0.1:50051", address))
            called = run(*words, env={**env, "FOREBAY_ADDRESS": address}, cwd=project)
            said[command] = called.succeeded().out
        os.killpg(running.popen.pid, signal.SIGINT)
        running.ended()
        assert "Traceback" not in running.output
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    greeted, counted, counted_by_grpcurl, routes, doctor = said.values()
    assert greeted == '{"text": "Hello, World!"}\n'
    assert list(json_values(counted)) == [{"number": number} for number in range(5, -1, -1)]
    assert len(list(json_values(counted_by_grpcurl))) == 6
    assert "weather.count_down" in routes
    assert doctor


def test_the_code_of_the_page_on_testing_runs_in_a_new_project(
    project: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    fenced = re.compile(r'^```python title="(\S+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
    blocks = fenced.findall(page)
    assert len(blocks) == page.count("```python") == 5
    copy = tmp_path / "weather"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("tests", "data"))
    (copy / "tests").mkdir()
    for path, text in blocks:
        (copy / path).write_text(text)
    assert "6 passed" in make(copy, "test").succeeded().out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Weather", "'Weather': expected a Python package's name"),
        ("numpy", "'numpy' is already an installed module"),
        ("json", "'json' is already an installed module"),
        ("taken", "taken exists already"),
    ],
)
def test_an_invalid_name_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "taken").mkdir()
    refused = run("forebay", "new", name, env=environment(), cwd=tmp_path)
    assert refused.code == 1
    assert why in refused.err
    assert list(tmp_path.rglob("*")) == [tmp_path / "taken"]
