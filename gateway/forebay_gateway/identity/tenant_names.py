"""The names that tenants may have. Pure."""

from __future__ import annotations

import re

EXPECTED = "1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`"

_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_tenant(name: str) -> bool:
    return _TENANT.fullmatch(name) is not None
