"""What a user would copy out of the documentation runs, and says what is true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from forebay_ledger.settings import Settings, load_settings
from tests.conftest import Up
from tests.harness import BIN

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DEFAULT_ADDRESS = "127.0.0.1:50051"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def programs() -> list[str]:
    return [block for block in blocks("python") if DEFAULT_ADDRESS in block]


def commands() -> list[str]:
    """The single calls among the README's shell lines; what starts servers is tested elsewhere."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [
        line
        for line in lines
        if re.match(r"grpcurl|\.venv/bin/forebay (call|ps|queues|routes|doctor)", line)
    ]


@pytest.mark.parametrize("number", range(len(programs())))
def test_a_program_of_the_readme_runs(up: Up, number: int) -> None:
    program = programs()[number].replace(DEFAULT_ADDRESS, up.address)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=up.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10.0")


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_runs(up: Up, command: str) -> None:
    words = shlex.split(
        command.replace(".venv/bin/", f"{BIN}/").replace(DEFAULT_ADDRESS, up.address)
    )
    if words[1] in ("call", "ps", "queues"):
        words[2:2] = ["--target", up.address]
    if words[1] == "doctor":
        words += ["--listen", up.address]
    done = subprocess.run(
        words, env=up.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_readme_has_what_is_run_here() -> None:
    assert len(programs()) == 2
    assert len(commands()) == 9


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `FOREBAY_\w+` \| (.*?) \|", page, re.MULTILINE))
    assert rows.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, (int, float, str)):
            assert rows[name] == f"`{default}`"


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_dependency_has_its_line() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^\w+ = \[(.*?)\]$", project, re.MULTILINE | re.DOTALL)
    names = {
        match
        for text in lists
        for match in re.findall(r'"([a-zA-Z][\w-]*)(?:\[[\w,]+\])?[>=][^"]*"', text)
    }
    assert {"grpcio", "celery", "numpy"} <= names
    assert {name for name in names if name not in page} == set()


def test_the_settings_file_of_the_documentation_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    example = page.split("and TOML in the file:")[1].split("## ")[0]
    (tmp_path / "forebay.toml").write_text(textwrap.dedent(example))
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.ledger_url == "redis://redis.internal:6379/0"
    assert settings.backends().broker_url.startswith("amqp://")
    assert settings.checks["forebay.compute.v1.ComputeService.MatMul"]
