"""Changes a file of API keys: in one step, so that no reader sees half a file.

Commands that run at the same time wait for each other, by a lock on the folder. A lock on the file
would not do: each change replaces the file.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forebay_gateway.identity.keys.api_key import ApiKey
from forebay_gateway.identity.keys.keys_file import read_keys, written_keys

_MODE = 0o600


def stored_keys(path: Path) -> dict[str, ApiKey]:
    """The keys by id; none if there is no file. Raises OSError or ValueError."""
    try:
        return read_keys(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def add_key(path: Path, key: ApiKey) -> None:
    """Makes the file, if there is none. Raises OSError or ValueError."""
    with _locked(path) as file:
        _replace(file, {**stored_keys(file), key.key_id: key})


def remove_key(path: Path, key_id: str) -> ApiKey | None:
    """Returns the key; None if there is none of this id. Raises OSError or ValueError."""
    with _locked(path) as file:
        keys = stored_keys(file)
        removed = keys.pop(key_id, None)
        if removed is not None:
            _replace(file, keys)
        return removed


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """The file that the path leads to, which no other command changes meanwhile."""
    file = path.resolve()
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield file
        os.fsync(folder)
    finally:
        os.close(folder)


def _replace(file: Path, keys: dict[str, ApiKey]) -> None:
    number, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(number, "w", encoding="utf-8") as written:
            os.fchmod(number, _MODE)
            _keep_owner(number, file)
            written.write(written_keys(keys.values()))
            written.flush()
            os.fsync(number)
        os.replace(name, file)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _keep_owner(number: int, file: Path) -> None:
    """Keeps the owner, so that the gateway's user can still read a file that root has changed."""
    with suppress(FileNotFoundError):
        before, now = file.stat(), os.fstat(number)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(number, before.st_uid, before.st_gid)
