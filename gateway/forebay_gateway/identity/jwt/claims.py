"""The principal that a verified token's claims describe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from forebay.errors import Unauthenticated
from forebay_backends.ledger.tenant_names import EXPECTED, is_tenant
from forebay_gateway.identity.principal import Principal

_LONGEST_SUBJECT = 256
_MOST_ROLES = 256


@dataclass(frozen=True)
class ClaimNames:
    """The names of the claims with tenant, subject and roles.

    A dot leads into an object, as in `realm_access.roles`, or is a part of a name, as in
    `https://example.com/tenant` and `kubernetes.io.namespace`: the longer name counts.
    """

    tenant: str
    subject: str
    roles: str


def principal_of(
    claims: Mapping[str, Any], names: ClaimNames, key_id: str, leeway_s: float
) -> Principal:
    """The principal; raises Unauthenticated, which names a claim that is missing or unfit."""
    tenant = _claim(claims, names.tenant)
    if not isinstance(tenant, str) or not is_tenant(tenant):
        raise _unfit(names.tenant, f"a tenant's name, {EXPECTED}")
    subject = _claim(claims, names.subject)
    if not isinstance(subject, str) or not _is_subject(subject):
        raise _unfit(names.subject, f"1 to {_LONGEST_SUBJECT} printable characters")
    roles = _roles(_claim(claims, names.roles))
    if roles is None:
        raise _unfit(names.roles, f"at most {_MOST_ROLES} roles: a list, or words in a text")
    expires_at = _expiry(claims["exp"]) + leeway_s
    return Principal(tenant, subject, roles, claims["iss"], key_id, expires_at)


def _claim(found: Any, path: str) -> Any:
    """The value at the path; None if there is none."""
    if not isinstance(found, Mapping):
        return None
    if path in found:
        return found[path]
    dots = (place for place, letter in enumerate(path) if letter == ".")
    inner = (_claim(found.get(path[:dot]), path[dot + 1 :]) for dot in dots)
    return next((value for value in inner if value is not None), None)


def _is_subject(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_SUBJECT and text.isprintable()


def _roles(found: Any) -> tuple[str, ...] | None:
    """The roles; none if the claim is missing. None if it is not as expected."""
    if found is None:
        return ()
    roles = found.split() if isinstance(found, str) else found
    if not isinstance(roles, list) or len(roles) > _MOST_ROLES:
        return None
    if not all(isinstance(role, str) and role.isprintable() for role in roles):
        return None
    return tuple(dict.fromkeys(roles))


def _expiry(found: Any) -> float:
    # PyJWT also accepts text and fractions as a number.
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found):
        raise _unfit("exp", "seconds since 1970")
    return float(found)


def _unfit(name: str, expected: str) -> Unauthenticated:
    return Unauthenticated(f"the token's claim `{name}` is missing or unfit; expected {expected}")
