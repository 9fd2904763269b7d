"""`forebay --help` lists every command, and imports none of them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from inspect import cleandoc
from pathlib import Path

import pytest

from forebay.cli.group import ENTRY_POINTS
from forebay.cli.summaries import docstring_of

POINTS = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
_HEAVY = {"grpc", "google.protobuf", "celery", "redis", "pydantic", "rich", "asyncio", "numpy"}
_MOST_MODULES = 250
_HELP = """
import sys
from forebay.cli import main
sys.argv = ["forebay", "--help"]
try:
    main()
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


def test_help_imports_no_command() -> None:
    done = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=True)
    imported = set(done.stderr.split())
    assert not _HEAVY & imported
    assert len(imported) < _MOST_MODULES
    lines = done.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("   ")] == [
        point.name for point in POINTS
    ]
    assert not any(line.endswith("...") for line in lines)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_the_docstring_that_is_read_is_the_commands_help(point: EntryPoint) -> None:
    assert docstring_of(point) == cleandoc(point.load().help)


@pytest.mark.parametrize(
    "source", ["made = print\n", "def other(): ...\n", "def made(): ...\n", "def made(:\n"]
)
def test_a_command_that_is_made_otherwise_has_no_docstring_to_read(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange_commands.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert docstring_of(EntryPoint("made", "strange_commands:made", ENTRY_POINTS)) is None


def test_a_command_whose_package_is_missing_has_no_docstring_to_read() -> None:
    assert docstring_of(EntryPoint("gone", "no.such.package:gone", ENTRY_POINTS)) is None
