"""Where an issuer's keys are: in a file, or at a URL (`fetched_keys.py`)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from forebay_backends.aio.watched_files import WatchedFiles
from forebay_gateway.identity.jwt.jwks import NO_KEYS, KeySet, read_jwks

_log = logging.getLogger(__name__)


class KeyStore(Protocol):
    """The keys of an issuer. When the keys have changed, `keys` is a new object."""

    @property
    def keys(self) -> KeySet:
        """The keys in force."""

    @property
    def age_s(self) -> float:
        """The time since the keys were last confirmed to be the issuer's."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the source of the keys; None if nothing is."""

    async def look_again(self) -> None:
        """Called for a token whose key is unknown: returns once the keys have been read again.
        Returns at once if that was just done.
        """

    async def run(self) -> None:
        """Keeps the keys up to date, until cancelled."""


class FileKeys:
    """The keys of a JWKS file, which is read again when it changes.

    Raises OSError or ValueError if the file can't be used at first; later, a bad file leaves the
    last good one in force.
    """

    age_s = 0.0

    def __init__(self, issuer: str, path: Path, interval_s: float = 10.0) -> None:
        self._issuer = issuer
        self._path = path
        self.keys = self._read()
        self.files = WatchedFiles(f"the JWKS of {issuer}", [path], self._load, interval_s)

    @property
    def problem(self) -> str | None:
        return self.files.problem or lacks_keys(self._issuer, self.keys)

    async def look_again(self) -> None:
        """Does nothing: the file is checked for changes often."""

    async def run(self) -> None:
        taken_in(self._issuer, NO_KEYS, self.keys)
        await self.files.watch()

    def _load(self) -> None:
        self.keys = taken_in(self._issuer, self.keys, self._read())

    def _read(self) -> KeySet:
        try:
            return read_jwks(self._path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None


def taken_in(issuer: str, before: KeySet, found: KeySet) -> KeySet:
    """Returns the keys to use from now on, and logs what has changed."""
    if found == before:
        return before
    _log.info("%s has %d keys for tokens", issuer, len(found.keys))
    for line in found.ignored:
        _log.warning("the JWKS of %s has a key that is not used: %s", issuer, line)
    return found


def lacks_keys(issuer: str, keys: KeySet) -> str | None:
    """The problem of a document without keys for signatures; None if it has some."""
    return None if keys.keys else f"the JWKS of {issuer} has no key for signatures"
