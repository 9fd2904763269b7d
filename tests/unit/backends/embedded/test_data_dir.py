"""The embedded server's folder: its default, and what is said of one that can't be used."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from forebay_backends.embedded.data_dir import default_data_dir, make_data_dir
from forebay_backends.embedded.errors import EmbeddedServerError

REMEDY = "set data_dir (FOREBAY_DATA_DIR or --data-dir) to"


@pytest.fixture(autouse=True)
def _no_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def problem_of(data_dir: Path) -> str:
    with pytest.raises(EmbeddedServerError) as raised:
        make_data_dir(data_dir)
    return str(raised.value)


def test_the_folder_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert default_data_dir() == Path("/home/me/.local/state/forebay")


def test_a_relative_state_folder_is_ignored_as_its_specification_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert default_data_dir() == Path("/home/me/.local/state/forebay")


def test_without_a_variable_the_home_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    for unset in ("", None):
        monkeypatch.setenv("HOME", "") if unset == "" else monkeypatch.delenv("HOME")
        assert default_data_dir().is_relative_to(home)


def test_a_user_without_a_home_is_told_to_set_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    problem = problem_of(default_data_dir())
    assert "this user has no home folder" in problem
    assert REMEDY in problem


def test_the_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    make_data_dir(folder)
    make_data_dir(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = problem_of(tmp_path / "file" / "data")
    assert problem.startswith(f"data_dir = {tmp_path}/file/data: ")
    assert "Not a directory" in problem
    assert REMEDY in problem
    assert "No such file or directory" in problem_of(Path("/proc/no-such-home/forebay"))


def test_what_a_server_of_another_user_left_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.log").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "server.log")
    problem = problem_of(tmp_path)
    assert f"{tmp_path}/server.log: Permission denied" in problem


def test_a_path_that_is_too_long_for_a_socket_is_refused() -> None:
    assert "too long a path for a Unix socket" in problem_of(Path("/" + "x" * 120))
