"""Refusals of tokens, and files of keys that change, for the tests of verifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from forebay.errors import Unauthenticated
from forebay_backends.aio.watched_files import WatchedFiles
from forebay_gateway.identity.principal import Principal


class Verifier(Protocol):
    """A verifier of one kind of tokens, or of all."""

    def remembered(self, token: str) -> Principal | None: ...

    async def verify(self, token: str) -> Principal: ...


async def refusal_of(verifier: Verifier, token: str) -> str:
    """The message with which the token is refused; it is remembered neither before nor then."""
    assert verifier.remembered(token) is None
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert verifier.remembered(token) is None
    return caught.value.message


def replace(file: Path, content: bytes, files: WatchedFiles) -> None:
    """Replaces the file, as the loop of a gateway then finds it."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.rename(file)
    files.refresh()
