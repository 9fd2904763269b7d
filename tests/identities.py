"""API keys for gateways that tests start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.keys_file import written_keys

Pair = tuple[str, str]


class Keys:
    """A file of API keys, and the tokens of those who have them, by subject."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._keys: dict[str, tuple[object, str]] = {}

    def add(
        self, subject: str, *roles: str, tenant: str = "acme", expires: datetime | None = None
    ) -> str:
        """The token of a new key, which replaces that of the subject."""
        key, token = new_key(tenant, roles, subject, expires)
        self._keys[subject] = (key, token)
        self.file.write_text(written_keys(key for key, _ in self._keys.values()))  # type: ignore[misc]
        return token

    def metadata(self, subject: str) -> list[Pair]:
        """The metadata of an RPC of the subject."""
        return [("authorization", f"Bearer {self._keys[subject][1]}")]

    def variables(self, roles: Mapping[str, Sequence[str]], **auth: object) -> dict[str, str]:
        """The settings of a gateway that knows the keys, and those who `auth` describes."""
        return {
            "FOREBAY_AUTH": json.dumps({"keys": [{"file": str(self.file)}], **auth}),
            "FOREBAY_ROLES": json.dumps(roles),
        }
