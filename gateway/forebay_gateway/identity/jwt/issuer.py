"""One issuer: which tokens it accepts, by which keys."""

from __future__ import annotations

import time
from dataclasses import replace

import jwt

from forebay.errors import BackendUnavailable, Unauthenticated
from forebay_backends.settings.identity_settings import JwtSettings
from forebay_gateway.identity.jwt.claims import ClaimNames, principal_of
from forebay_gateway.identity.jwt.jwks import KeySet, VerificationKey
from forebay_gateway.identity.jwt.key_stores import KeyStore
from forebay_gateway.identity.jwt.token import UnverifiedToken
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verdicts import Verdicts

_REQUIRED = ["exp", "iss", "aud"]
_FORGED = "the token's signature is wrong"


class Issuer:
    """Verifies the tokens of one entry of the settings.

    When the issuer's keys change, all cached verdicts are dropped, so that a token of a withdrawn
    key is refused.
    """

    def __init__(self, settings: JwtSettings, store: KeyStore) -> None:
        self.name = settings.issuer
        self.store = store
        self._settings = settings
        self._claims = ClaimNames(settings.tenant, settings.subject, settings.roles)
        self._proof: tuple[KeySet, Verdicts] = (store.keys, Verdicts())

    def principal(self, digest: bytes) -> Principal | None:
        """The principal of a token that was verified by one of the current keys."""
        _, verdicts = self._in_force()
        return verdicts.principal(digest, time.time())

    async def verify(self, token: str, digest: bytes, said: UnverifiedToken) -> Principal:
        """Raises Unauthenticated; BackendUnavailable while the issuer's keys are not known."""
        accepted = self._settings.algorithms
        if said.algorithm not in accepted:
            raise Unauthenticated(f"the token's algorithm is not one of {', '.join(accepted)}")
        if not self.store.keys.has(said.key_id):
            await self.store.look_again()
        keys, verdicts = self._in_force()
        key = _key(keys, said)
        if verdicts.is_forged(digest):
            raise Unauthenticated(_FORGED)
        try:
            principal = self._principal(token, key, said.algorithm)
        except jwt.InvalidSignatureError:
            verdicts.add_forged(digest)
            raise Unauthenticated(_FORGED) from None
        verdicts.add(digest, principal)
        return principal

    def _in_force(self) -> tuple[KeySet, Verdicts]:
        """The keys, and the verdicts by them."""
        keys = self.store.keys
        if self._proof[0] is not keys:
            self._proof = (keys, Verdicts())
        return self._proof

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
