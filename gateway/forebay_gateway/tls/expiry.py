"""How long certificates are valid, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.x509 import Certificate

_LEFT_AT_LEAST = 0.1
"""A share of a certificate's lifetime; it should have been renewed before so little is left."""

RENEW = "renew it; the gateway loads it without a restart"


@dataclass(frozen=True)
class Expiry:
    """When a certificate expires, such as "expires in 23 hours"; `is_near` if it is overdue."""

    description: str
    is_near: bool


def expiry(certificate: Certificate, now: datetime) -> Expiry:
    """How long the certificate is valid from now on; near if a tenth of its time is left."""
    left = certificate.not_valid_after_utc - now
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if left <= timedelta(0):
        return Expiry(f"expired {_shown(-left)} ago", is_near=True)
    return Expiry(f"expires in {_shown(left)}", is_near=left < _LEFT_AT_LEAST * lifetime)


def _shown(time: timedelta) -> str:
    if time >= timedelta(days=2):
        return f"{time.days} days"
    if time >= timedelta(hours=2):
        return f"{time // timedelta(hours=1)} hours"
    return f"{time // timedelta(minutes=1)} minutes"
