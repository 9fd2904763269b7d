"""The caller of an RPC. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, and how it proved who it is.

    `tenant` is the owner of its calls; empty only where authentication is off. `issuer` is the
    JWT's, `spiffe` or `keys`; `key_id` is that of the key that signed the token, or of the API key.
    `expires_at` is when the proof expires, with its leeway, in seconds of Unix time, or None
    if it lasts as long as the connection. `key` is the public key that verified a JWT: a key that
    replaces it under the same id is another one.
    """

    tenant: str = ""
    subject: str = ""
    roles: tuple[str, ...] = ()
    issuer: str = ""
    key_id: str = ""
    expires_at: float | None = None
    key: object = field(default=None, repr=False)

    def __hash__(self) -> int:
        # Every call looks its caller up; the other fields differ less, and take half of the time.
        return hash((self.subject, self.key_id, self.expires_at))


NOBODY = Principal()
"""The caller where authentication is off."""
