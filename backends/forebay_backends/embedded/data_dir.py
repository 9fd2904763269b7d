"""The embedded server's folder (the setting `data_dir`): its default, and checks of it."""

from __future__ import annotations

import os
import pwd
from errno import EACCES
from pathlib import Path

from forebay_backends.embedded.errors import EmbeddedServerError

NO_HOME = Path("/nonexistent")
"""Debian's /etc/passwd names this folder as the home of a user without one."""

_APPEND_ONLY = "appendonlydir"  # Valkey's default
_MAX_SOCKET_PATH = 100  # sockaddr_un has room for 108 bytes on Linux, 104 on macOS
_REMEDY = (
    "set data_dir (FOREBAY_DATA_DIR or --data-dir) to a folder that this user can write, or "
    "ledger_url to a Redis or Valkey"
)


def default_data_dir() -> Path:
    """`$XDG_STATE_HOME/forebay`, or `~/.local/state/forebay`"""
    state = Path(os.environ.get("XDG_STATE_HOME") or "")
    # The specification says to ignore relative paths.
    return (state if state.is_absolute() else _home() / ".local" / "state") / "forebay"


def socket_path(data_dir: Path) -> Path:
    """The Unix socket on which the embedded server of a folder listens."""
    return data_dir / "ledger.sock"


def log_path(data_dir: Path) -> Path:
    """The log of the embedded server of a folder."""
    return data_dir / "server.log"


def make_data_dir(data_dir: Path) -> None:
    """Makes the folder, for this user alone, or raises EmbeddedServerError if it can't be used."""
    if data_dir.is_relative_to(NO_HOME):
        raise EmbeddedServerError(
            f"the embedded server has no folder, because this user has no home folder; {_REMEDY}"
        )
    if len(os.fsencode(socket_path(data_dir))) > _MAX_SOCKET_PATH:
        raise EmbeddedServerError(
            f"data_dir = {data_dir}: too long a path for a Unix socket; set data_dir "
            "(FOREBAY_DATA_DIR or --data-dir) to a shorter one"
        )
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        data_dir.chmod(0o700)
        for path in (data_dir, log_path(data_dir), data_dir / _APPEND_ONLY):
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(EACCES, os.strerror(EACCES), str(path))
    except OSError as error:
        raise unusable(data_dir, error) from error


def unusable(data_dir: Path, error: OSError) -> EmbeddedServerError:
    """The error for a folder in which a file can't be made, read or written."""
    where = error.filename or data_dir
    return EmbeddedServerError(
        f"data_dir = {data_dir}: the embedded server can't use this folder: "
        f"{where}: {error.strerror}; {_REMEDY}"
    )


def _home() -> Path:
    home = os.environ.get("HOME")
    if home:
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return NO_HOME
