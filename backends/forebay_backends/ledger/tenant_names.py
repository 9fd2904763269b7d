"""The names that tenants may have. Pure."""

from __future__ import annotations

import re

EXPECTED = "1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`"
PATTERN = "[A-Za-z0-9._-]{1,64}"

_TENANT = re.compile(PATTERN)


def is_tenant(name: str) -> bool:
    """Whether a tenant may have the name."""
    return _TENANT.fullmatch(name) is not None
