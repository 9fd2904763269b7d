"""Files that are read again when they change, such as certificates and keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from forebay_backends.aio.periodic import LONGEST_PAUSE, run_periodically

_log = logging.getLogger(__name__)

_Version = tuple[tuple[int, int, int] | None, ...]


class WatchedFiles:
    """Calls `load` when one of the files has changed; a bad file leaves the last good one in force.

    `load` reads the files, and raises OSError or ValueError if they can't be used. Files are
    compared by inode, modification time and size, so a symbolic link that points to another file
    counts as a change. Bad files are loaded again each time: new permissions, or the mere passing
    of time, may make them good. `problem` says what is wrong with the files now; None if nothing.
    """

    def __init__(
        self, what: str, paths: Sequence[Path], load: Callable[[], object], interval_s: float = 10.0
    ) -> None:
        self.problem: str | None = None
        self._what = what
        self._paths = paths
        self._load = load
        self._interval_s = interval_s
        self._loaded = self._version()

    async def watch(self) -> None:
        """Calls `refresh` at least every `interval_s`, until cancelled.

        Other errors of `load` are logged.
        """
        await run_periodically(
            self._interval_s / LONGEST_PAUSE,
            partial(asyncio.to_thread, self.refresh),
            _log,
            f"looking at {self._what}",
        )

    def refresh(self) -> None:
        """Loads the files if they have changed since the last time, or were bad then."""
        version = self._version()
        if version == self._loaded and self.problem is None:
            return
        self._loaded = version
        try:
            self._load()
        except (OSError, ValueError) as error:
            if str(error) != self.problem:
                _log.error("%s stays as it was: %s", self._what, error)
            self.problem = str(error)
        else:
            self.problem = None
            _log.info("%s was loaded again", self._what)

    def _version(self) -> _Version:
        return tuple(_version_of(path) for path in self._paths)


def _version_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
