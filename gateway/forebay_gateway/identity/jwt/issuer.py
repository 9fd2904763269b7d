"""One issuer: which tokens it accepts, by which keys."""

from __future__ import annotations

from dataclasses import replace

import jwt

from forebay.errors import BackendUnavailable, Unauthenticated
from forebay_backends.settings.identity_settings import JwtSettings
from forebay_gateway.identity.jwt.claims import ClaimNames, principal_of
from forebay_gateway.identity.jwt.jwks import KeySet, VerificationKey
from forebay_gateway.identity.jwt.key_stores import KeyStore
from forebay_gateway.identity.jwt.token import UnverifiedToken
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verdicts import Forgeries, Verdict

_REQUIRED = ["exp", "iss", "aud"]
_FORGED = "the token's signature is wrong"


class Issuer:
    """Verifies the tokens of one entry of the settings.

    When the issuer's keys change, the forgeries are dropped: a new key may have signed them.
    """

    def __init__(self, settings: JwtSettings, store: KeyStore) -> None:
        self.name = settings.issuer
        self.store = store
        self._settings = settings
        self._claims = ClaimNames(settings.tenant, settings.subject, settings.roles)
        self._forged = (store.keys, Forgeries())
        """The tokens that none of these keys has signed."""

    async def verify(self, token: str, said: UnverifiedToken) -> Verdict:
        """Raises Unauthenticated; BackendUnavailable while the issuer's keys are not known."""
        accepted = self._settings.algorithms
        if said.algorithm not in accepted:
            raise Unauthenticated(f"the token's algorithm is not one of {', '.join(accepted)}")
        if not self.store.keys.has(said.key_id):
            await self.store.look_again()
        keys = self.store.keys
        if self._forged[0] is not keys:
            self._forged = (keys, Forgeries())
        forgeries = self._forged[1]
        key = _key(keys, said)
        if token in forgeries:
            raise Unauthenticated(_FORGED)
        try:
            principal = self._principal(token, key, said.algorithm)
        except jwt.InvalidSignatureError:
            forgeries.add(token)
            raise Unauthenticated(_FORGED) from None
        return Verdict(principal, self.store, keys)

    def _principal(self, token: str, key: VerificationKey, algorithm: str) -> Principal:
        """Raises Unauthenticated, or InvalidSignatureError."""
        settings = self._settings
        try:
            claims = jwt.decode(
                token,
                key.public_key,
                [algorithm],
                {"require": _REQUIRED},
                audience=settings.audiences,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.PyJWTError as error:
            raise _refusal(error) from None
        found = principal_of(claims, self._claims, key.key_id or "", settings.leeway_s)
        return replace(found, key=key)


def _key(keys: KeySet, said: UnverifiedToken) -> VerificationKey:
    if not keys.keys:
        raise BackendUnavailable("the keys of the token's issuer are not known yet")
    if not keys.has(said.key_id):
        raise Unauthenticated(
            "the token names no key, and its issuer has several"
            if said.key_id is None
            else "the token's key is not one of its issuer's"
        )
    key = keys.find(said.key_id, said.algorithm)
    if key is None:
        raise Unauthenticated("the token's algorithm is not that of its key")
    return key


def _refusal(error: jwt.PyJWTError) -> Unauthenticated:
    """The refusal in our words: PyJWT's may show parts of the token."""
    match error:
        case jwt.ExpiredSignatureError():
            return Unauthenticated("the token has expired")
        case jwt.ImmatureSignatureError():
            return Unauthenticated("the token is not valid yet")
        case jwt.InvalidAudienceError():
            return Unauthenticated("the token is for another audience")
        case jwt.MissingRequiredClaimError():
            return Unauthenticated(f"the token has no claim `{error.claim}`")
        case _:
            return Unauthenticated("the token is malformed, or has a claim of the wrong type")
