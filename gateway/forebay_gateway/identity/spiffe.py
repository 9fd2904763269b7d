"""Who calls, by the SPIFFE ID of a client certificate. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from forebay_backends.settings.identity_settings import SpiffeSettings
from forebay_backends.settings.spiffe_patterns import SpiffePattern
from forebay_gateway.identity.principal import Principal

ISSUER = "spiffe"
_SPIFFE_ID, _CERTIFICATE = "peer_spiffe_id", "x509_pem_cert"
_REMEMBERED = 1024
"""Certificates whose expiry is known: reading it takes 20 µs, and each call needs it."""


@dataclass(frozen=True)
class SpiffeRule:
    """Callers whose SPIFFE ID is of this pattern have these roles."""

    pattern: SpiffePattern
    roles: tuple[str, ...]


def spiffe_rules(settings: Iterable[SpiffeSettings]) -> tuple[SpiffeRule, ...]:
    """The rules of `[[auth.spiffe]]`."""
    return tuple(SpiffeRule(SpiffePattern.read(one.pattern), one.roles) for one in settings)


def principal_of_certificate(
    auth_context: Mapping[str, Iterable[bytes]], rules: Sequence[SpiffeRule]
) -> Principal | None:
    """The caller by the first rule that fits; None without a SPIFFE ID that one fits.

    Only `peer_spiffe_id` counts: a DNS name or a common name may look like a SPIFFE ID, and all of
    them are among gRPC's `peer_identities`.
    """
    found = list(auth_context.get(_SPIFFE_ID, ()))
    if len(found) != 1:
        return None
    spiffe_id = found[0].decode(errors="replace")
    for rule in rules:
        identified = rule.pattern.match(spiffe_id)
        if identified is not None:
            expires_at = _expires_at(next(iter(auth_context.get(_CERTIFICATE, ())), b""))
            return Principal(*identified, roles=rule.roles, issuer=ISSUER, expires_at=expires_at)
    return None


@lru_cache(_REMEMBERED)
def _expires_at(pem: bytes) -> float | None:
    """When the certificate expires, in seconds of Unix time."""
    from cryptography.x509 import load_pem_x509_certificate  # 8 MB, needed with TLS alone

    if not pem:
        return None
    return load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
