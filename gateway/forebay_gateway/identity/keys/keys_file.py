"""The TOML file of API keys, read and written as text. Pure."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from forebay_backends.ledger.tenant_names import EXPECTED, is_tenant
from forebay_gateway.identity.keys.api_key import ApiKey

HEAD = "# API keys of Forebay. `forebay keys` writes this file anew; other comments are lost.\n"

_LONGEST = 256


def read_keys(text: str) -> dict[str, ApiKey]:
    """The keys by id; raises ValueError, with a line for each problem."""
    try:
        found = _File.model_validate(tomllib.loads(text), strict=True)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ValueError("\n".join(lines)) from None
    return {key_id: entry.key(key_id) for key_id, entry in found.keys.items()}


def written_keys(keys: Iterable[ApiKey]) -> str:
    """The text of a file with these keys."""
    return HEAD + "".join(map(_table, keys))


def checked_tenant(name: str) -> str:
    """Returns the name; raises ValueError if it is not a valid name of a tenant."""
    if not is_tenant(name):
        raise ValueError(f"expected a tenant's name, {EXPECTED}")
    return name


def checked_name(name: str) -> str:
    """Returns the name; raises ValueError if it is not a valid name of a role or subject."""
    if not 0 < len(name) <= _LONGEST or not name.isprintable():
        raise ValueError(f"expected 1 to {_LONGEST} printable characters")
    return name


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    tenant: Annotated[str, AfterValidator(checked_tenant)]
    subject: Annotated[str, AfterValidator(checked_name)] | None = None
    roles: list[Annotated[str, AfterValidator(checked_name)]] = []
    created: AwareDatetime | None = None
    expires: AwareDatetime | None = None

    def key(self, key_id: str) -> ApiKey:
        return ApiKey(
            key_id,
            bytes.fromhex(self.sha256),
            self.tenant,
            self.subject or key_id,
            tuple(self.roles),
            self.created,
            self.expires,
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: dict[Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,64}$")], _Entry] = {}


def _table(key: ApiKey) -> str:
    lines = [
        f"\n[keys.{key.key_id}]",
        f'sha256 = "{key.sha256.hex()}"',
        f'tenant = "{key.tenant}"',
        f"subject = {_text(key.subject)}",
        f"roles = [{', '.join(map(_text, key.roles))}]",
    ]
    times = {"created": key.created, "expires": key.expires}
    lines += [f"{name} = {time.isoformat()}" for name, time in times.items() if time is not None]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """The text as a TOML string, which for printable text is the same as in JSON."""
    return json.dumps(text, ensure_ascii=False)
