"""Files that are read again when they change."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.polling import poll_until
from forebay_backends.aio.watched_files import WatchedFiles


class Loaded:
    """What was read last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.value = path.read_text()

    def load(self) -> None:
        text = self.path.read_text()
        if "bad" in text:
            raise ValueError("no good text")
        self.value = text


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    path = tmp_path / "file"
    path.write_text("one")
    return Loaded(path)


def test_a_changed_file_is_loaded_again(loaded: Loaded) -> None:
    files = WatchedFiles("the text", [loaded.path], loaded.load)
    loaded.path.write_text("second")
    files.refresh()
    assert loaded.value == "second"


def test_a_link_that_points_elsewhere_counts_as_a_change(loaded: Loaded, tmp_path: Path) -> None:
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to(loaded.path)
    loaded.path = link
    files = WatchedFiles("the text", [link], loaded.load)
    other.write_text("two")
    link.unlink()
    link.symlink_to(other)
    files.refresh()
    assert loaded.value == "two"


@pytest.mark.parametrize("broken", ["bad text", None])
def test_a_bad_or_missing_file_leaves_the_last_good_one(loaded: Loaded, broken: str | None) -> None:
    files = WatchedFiles("the text", [loaded.path], loaded.load)
    if broken is None:
        os.unlink(loaded.path)
    else:
        loaded.path.write_text(broken)
    files.refresh()
    assert loaded.value == "one"
    assert files.problem
    loaded.path.write_text("third")
    files.refresh()
    assert (loaded.value, files.problem) == ("third", None)


async def test_a_fault_of_the_loader_ends_no_watch(
    loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty() -> None:
        if "fault" in loaded.path.read_text():
            raise KeyError("a bug")
        loaded.load()

    files = WatchedFiles("the text", [loaded.path], faulty, 0.01)
    watching = asyncio.create_task(files.watch())
    loaded.path.write_text("a fault")
    await poll_until(lambda: "a bug" in caplog.text, 20.0)
    loaded.path.write_text("mended")
    await poll_until(lambda: loaded.value == "mended", 20.0)
    await cancel_all([watching])
    assert loaded.value == "mended"
