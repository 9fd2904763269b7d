"""Writes the lines of the audit log to a file that several processes may share, or to stderr."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any

_MODE = 0o600


class AuditFile(logging.Handler):
    """Appends each record by one `write`, so that lines of several processes don't mix.

    If the file was renamed or removed, as by logrotate, the next record goes to a new file. Unlike
    `logging.handlers.WatchedFileHandler`, it raises OSError if a record can't be written, never
    blocks on a pipe that nobody reads, and keeps nothing in a buffer.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: int | None = None
        self._is_torn = False
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Raises OSError."""
        start = "\n" if self._is_torn else ""
        data = f"{start}{self.format(record)}\n".encode()
        written = os.write(self._current(), data)
        self._is_torn = written < len(data)
        if self._is_torn:  # the disk is full
            raise OSError(f"{self._path}: {written} of {len(data)} bytes were written")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        super().close()

    def _current(self) -> int:
        if self._file is not None and _identity(os.fstat(self._file)) == self._identity_of_path():
            return self._file
        return self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        opened = os.open(self._path, flags, _MODE)
        if self._file is not None:
            os.close(self._file)
        self._file = opened
        return opened

    def _identity_of_path(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        # /dev/stderr links to the descriptor's file, and each open may give another inode.
        return None if not stat.S_ISREG(found.st_mode) else _identity(found)


class AuditStream(logging.StreamHandler[Any]):
    """Writes records to a stream; lets the stream's exceptions through."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Raises the exception that logging has caught."""
        raise


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
