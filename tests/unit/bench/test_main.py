"""The files that `python -m bench` writes, by the rows that it is given; nothing is measured."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import measures, report
from bench.__main__ import main
from bench.rounds import Figure, Series

FOUND = Figure("key", "Add, one caller", "ms", Series("ephemeral", (1.0, 2.0, 3.0)), row=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The empty folder of results; every run finds the same figure."""

    def run(rows: tuple[int, ...], *, quick: bool) -> Iterator[Figure]:
        yield FOUND

    monkeypatch.setattr(measures, "run", run)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    handler = signal.getsignal(signal.SIGTERM)  # a run sets its own
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


def ran(*arguments: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def test_some_rows_alone_write_only_the_file_that_is_named(folder: Path) -> None:
    ran("1", "7", "--name", "two-rows")
    assert [file.name for file in folder.iterdir()] == ["two-rows.json"]
    assert json.loads((folder / "two-rows.json").read_text())["command"] == "python -m bench 1 7"


@pytest.mark.parametrize("arguments", [["1"], ["--quick"], ["1", "--quick"]])
def test_a_run_without_a_name_writes_nothing_unless_it_is_whole(
    folder: Path, arguments: list[str]
) -> None:
    ran(*arguments)
    assert not list(folder.iterdir())


def test_a_whole_run_writes_the_table_too(folder: Path) -> None:
    ran("--name", "whole")
    assert json.loads((folder / "whole.json").read_text())["command"] == "make bench"
    assert "`make bench`" in (folder / "README.md").read_text()
