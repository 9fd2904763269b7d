"""Identifies a caller by the SPIFFE ID of its client certificate. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from forebay_backends.settings.identity_settings import SpiffeSettings
from forebay_backends.settings.spiffe_patterns import SpiffePattern
from forebay_gateway.identity.principal import Principal

ISSUER = "spiffe"
_SPIFFE_ID, _CERTIFICATE = "peer_spiffe_id", "x509_pem_cert"
_REMEMBERED = 1024
"""How many parsed certificates are kept: parsing takes some 50 µs, and each call needs one."""


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
    """The caller by the first rule that fits its SPIFFE ID; None if none does.

    Only `peer_spiffe_id` counts: a DNS name or a common name may look like a SPIFFE ID, and all of
    them are among gRPC's `peer_identities`. It must be the certificate's only URI: Python's gRPC
    cuts properties off at a zero byte.
    """
    found, certificates = (list(auth_context.get(name, ())) for name in (_SPIFFE_ID, _CERTIFICATE))
    if len(found) != 1 or len(certificates) != 1:
        return None
    spiffe_id = found[0].decode(errors="replace")
    for rule in rules:
        identified = rule.pattern.match(spiffe_id)
        if identified is not None:
            certificate = _certificate(certificates[0])
            if certificate.uris != (spiffe_id,):
                return None
            return Principal(
                *identified, roles=rule.roles, issuer=ISSUER, expires_at=certificate.expires_at
            )
    return None


class _Certificate(NamedTuple):
    uris: tuple[str, ...]
    expires_at: float
    """In seconds of Unix time."""


@lru_cache(_REMEMBERED)
def _certificate(pem: bytes) -> _Certificate:
    from cryptography import x509  # 8 MB, needed only with TLS

    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
    except (x509.ExtensionNotFound, ValueError):
        uris = ()
    return _Certificate(uris, certificate.not_valid_after_utc.timestamp())
