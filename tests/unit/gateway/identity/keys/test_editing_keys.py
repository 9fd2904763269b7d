"""Changing a file of API keys: whole or not at all, and nobody's change is lost."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from forebay_gateway.identity.keys import editing
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.editing import add_key, remove_key, stored_keys


def _added(path: Path, tenant: str = "acme") -> str:
    key, _ = new_key(tenant, ("caller",), None, None)
    add_key(path, key)
    return key.key_id


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_keys_are_added_and_removed(file: Path) -> None:
    assert stored_keys(file) == {}
    one, two = _added(file), _added(file, "shop")
    assert list(stored_keys(file)) == [one, two]
    removed = remove_key(file, one)
    assert removed is not None
    assert removed.tenant == "acme"
    assert remove_key(file, one) is None
    assert list(stored_keys(file)) == [two]


def test_only_its_owner_reads_the_file_and_nothing_else_is_left(file: Path) -> None:
    file.write_text("")
    file.chmod(0o644)
    _added(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == [file.name]


def test_a_link_goes_on_leading_to_the_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "keys.toml"
    link.symlink_to(file)
    key_id = _added(link)
    assert link.is_symlink()
    assert list(stored_keys(file)) == [key_id]


def test_a_file_that_is_not_understood_stays_as_it_is(file: Path) -> None:
    file.write_text("[keys")
    with pytest.raises(ValueError, match="end of document"):
        _added(file)
    with pytest.raises(ValueError, match="end of document"):
        remove_key(file, "a")
    assert file.read_text() == "[keys"
    assert os.listdir(file.parent) == [file.name]


def test_a_change_that_fails_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = _added(file)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(editing.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        _added(file)
    assert list(stored_keys(file)) == [key_id]
    assert os.listdir(file.parent) == [file.name]


def test_the_owner_of_the_file_stays_the_same(file: Path) -> None:
    file.write_text("")
    if os.geteuid() == 0:  # others can't give files away
        os.chown(file, 1234, 1235)
    before = file.stat()
    _added(file)
    now = file.stat()
    assert (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid)


def test_changes_at_the_same_time_lose_nothing(file: Path) -> None:
    count, each = 4, 10
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_add_some, args=(file, each)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(stored_keys(file)) == count * each


def _add_some(file: Path, count: int) -> None:
    for _ in range(count):
        remove_key(file, _added(file))
        _added(file)
