"""The audit file survives rotation, is private, and fails loudly."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay_gateway.audit.audit_file import AuditFile, AuditStream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def file(path: Path) -> Iterator[AuditFile]:
    handler = AuditFile(path)
    yield handler
    handler.close()


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("forebay.audit", logging.INFO, "", 0, text, None, None)


def test_lines_are_appended_to_a_private_file(file: AuditFile, path: Path) -> None:
    file.emit(record("one"))
    other = AuditFile(path)  # another process of the gateway
    other.emit(record("two"))
    other.close()
    file.emit(record("three"))
    assert path.read_text() == "one\ntwo\nthree\n"
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("removed", [False, True], ids=["renamed", "removed"])
def test_after_rotation_lines_go_to_a_new_file(
    file: AuditFile, path: Path, *, removed: bool
) -> None:
    file.emit(record("old"))
    if removed:
        path.unlink()
    else:
        path.rename(path.with_suffix(".1"))
    file.emit(record("new"))
    assert path.read_text() == "new\n"


def test_a_line_that_can_not_be_written_raises_and_later_ones_are_written(
    file: AuditFile, path: Path
) -> None:
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        file.emit(record("lost"))
    path.rmdir()
    file.emit(record("kept"))
    assert path.read_text() == "kept\n"


def test_a_full_disk_raises_and_the_next_line_begins_a_line(
    file: AuditFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda opened, data: write(opened, data[:3]))
    with pytest.raises(OSError, match="3 of 11 bytes"):
        file.emit(record("0123456789"))
    monkeypatch.undo()
    file.emit(record("whole"))
    assert path.read_text() == "012\nwhole\n"


def test_a_pipe_that_nobody_reads_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        AuditFile(path)


def test_a_closed_stream_raises() -> None:
    stream = io.StringIO()
    handler = AuditStream(stream)
    handler.emit(record("one"))
    assert stream.getvalue() == "one\n"
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        handler.emit(record("two"))
