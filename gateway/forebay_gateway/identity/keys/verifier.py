"""Verifies API keys."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from forebay.errors import Unauthenticated
from forebay_backends.aio.watched_files import WatchedFiles
from forebay_backends.settings import SettingsError
from forebay_backends.settings.identity_settings import KeysSettings
from forebay_gateway.identity.keys.api_key import ApiKey, read_token
from forebay_gateway.identity.keys.keys_file import read_keys
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verdicts import Verdict

_NO_SHA256 = bytes(32)

_log = logging.getLogger(__name__)


class KeysFile:
    """The keys of a file, which is read again when it changes: `keys` is then a new object.

    Raises OSError or ValueError if the file can't be used at first; later, a bad file leaves the
    last good one in force.
    """

    def __init__(self, path: Path, interval_s: float = 10.0) -> None:
        self.path = path
        self.keys: dict[str, tuple[ApiKey, Principal]] = {}
        """By id, and with the principal that each key proves."""
        self.files = WatchedFiles(f"{path}, of API keys,", [path], self._load, interval_s)
        self.keys = self._read()

    @property
    def problem(self) -> str | None:
        """What is wrong with the file as it is now; None if nothing is."""
        return self.files.problem

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the keys have now."""
        return tuple(sorted({role for key, _ in self.keys.values() for role in key.roles}))

    async def watch(self) -> None:
        """Keeps the keys up to date, until cancelled."""
        self._report({}, self.keys)
        await self.files.watch()

    def _load(self) -> None:
        before, self.keys = self.keys, self._read()
        self._report(before, self.keys)

    def _read(self) -> dict[str, tuple[ApiKey, Principal]]:
        try:
            keys = read_keys(self.path.read_text(encoding="utf-8"))
        except ValueError as error:
            lines = (f"{self.path}: {line}" for line in str(error).splitlines())
            raise ValueError("\n".join(lines)) from None
        return {key_id: (key, _principal(key)) for key_id, key in keys.items()}

    def _report(self, before: Mapping[str, object], after: Mapping[str, object]) -> None:
        for did, ids in (
            ("has new", after.keys() - before.keys()),
            ("no longer has", before.keys() - after.keys()),
        ):
            if ids:
                _log.info("%s %s API keys: %s", self.path, did, ", ".join(sorted(ids)))


class ApiKeyVerifier:
    """Verifies the keys of several files."""

    def __init__(self, files: Iterable[KeysFile]) -> None:
        self._files = tuple(files)

    def is_in_force(self, principal: Principal) -> bool:
        found = (file.keys.get(principal.key_id) for file in self._files)
        return any(one is not None and one[1] == principal for one in found)

    async def verify(self, token: str) -> Verdict:
        """Raises Unauthenticated."""
        found = self._find(token)
        if found is None:
            raise Unauthenticated("the API key is not one that is accepted here")
        file, key, principal = found
        if key.is_expired(time.time()):
            raise Unauthenticated(f"the API key {key.key_id} has expired")
        return Verdict(principal, file, file.keys)

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        return (file.watch() for file in self._files)

    @property
    def problems(self) -> list[str]:
        return [file.problem for file in self._files if file.problem is not None]

    @property
    def keys_in_force(self) -> dict[str, Mapping[str, object]]:
        """The keys by file, then by id."""
        return {str(file.path): file.keys for file in self._files}

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """The roles that the keys of each file have now."""
        return {str(file.path): file.roles for file in self._files}

    def _find(self, token: str) -> tuple[KeysFile, ApiKey, Principal] | None:
        """The key with this secret; the time tells nothing of the secret, nor which ids exist."""
        read = read_token(token)
        if read is None:
            return None
        key_id, sha256 = read
        for file in self._files:
            found = file.keys.get(key_id)
            is_it = hmac.compare_digest(sha256, _NO_SHA256 if found is None else found[0].sha256)
            if found is not None and is_it:
                return file, *found
        return None


def make_key_verifier(entries: Iterable[KeysSettings]) -> ApiKeyVerifier:
    """Raises SettingsError for all files that can't be used."""
    files, problems = [], []
    for entry in entries:
        try:
            files.append(KeysFile(entry.file))
        except FileNotFoundError:
            problems.append(f"{entry.file}: no such file; `forebay keys new` makes it")
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    return ApiKeyVerifier(files)


def _principal(key: ApiKey) -> Principal:
    expires_at = None if key.expires is None else key.expires.timestamp()
    return Principal(key.tenant, key.subject, key.roles, "keys", key.key_id, expires_at)
