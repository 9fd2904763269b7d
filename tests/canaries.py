"""Marked secrets, and the search for them in what processes have written."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Iterator

_SHORTEST = 12
"""Shorter texts could be somewhere by chance."""


class Canaries:
    """Secrets by their names; a secret may have several values, such as the lines of a key."""

    def __init__(self) -> None:
        self._forms: dict[str, set[str]] = {}

    def new(self, name: str) -> str:
        """A new value, of letters and digits, so that no quoting changes it."""
        value = f"canary{secrets.token_hex(8)}"
        self.add(name, value)
        return value

    def add(self, name: str, *values: str) -> None:
        """Further values of the secret; of each, lines that are too short to be known again."""
        lines = [line for value in values for line in value.splitlines()]
        known = [line for line in lines if len(line) >= _SHORTEST and not line.startswith("-----")]
        assert known, name
        self._forms.setdefault(name, set()).update(form for one in known for form in _forms(one))

    @property
    def names(self) -> set[str]:
        return set(self._forms)

    def is_in(self, name: str, text: str) -> bool:
        """Whether the text has a value of the secret, as it is, in base64 or in hexadecimal."""
        return any(form in text for form in self._forms[name])


def _forms(value: str) -> Iterator[str]:
    data = value.encode()
    yield value
    yield data.hex()
    for before in range(3):  # base64 takes three bytes at a time: where do ours begin?
        start, end = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        encoded = b64encode(bytes(before) + data).decode()[start:end]
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")
