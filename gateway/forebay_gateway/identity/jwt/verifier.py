"""Verifies JWTs."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator, Mapping
from typing import Any

from forebay.errors import Unauthenticated
from forebay_backends.settings import SettingsError
from forebay_backends.settings.identity_settings import JwtSettings
from forebay_gateway.identity.jwt.fetched_keys import FetchedKeys
from forebay_gateway.identity.jwt.issuer import Issuer
from forebay_gateway.identity.jwt.jwks_client import JwksClient
from forebay_gateway.identity.jwt.key_stores import FileKeys, KeyStore
from forebay_gateway.identity.jwt.token import read_token
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verdicts import Verdict

MOST_BYTES = 8 << 10


class JwtVerifier:
    """Verifies the tokens of several issuers; a token's `iss` picks one."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}

    def is_in_force(self, principal: Principal) -> bool:
        issuer = self._issuers.get(principal.issuer)
        return issuer is not None and principal.key in issuer.store.keys.keys

    async def verify(self, token: str) -> Verdict:
        """Raises Unauthenticated; BackendUnavailable while the issuer's keys are not known."""
        if len(token) > MOST_BYTES or not token.isascii():
            raise Unauthenticated(f"the token is not ASCII of at most {MOST_BYTES} bytes")
        said = read_token(token)
        issuer = self._issuers.get(said.issuer)
        if issuer is None:
            raise Unauthenticated("the token's issuer is not one that is accepted here")
        return await issuer.verify(token, said)

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        return (issuer.store.run() for issuer in self._issuers.values())

    @property
    def is_ready(self) -> bool:
        """Whether each issuer has keys; before, its tokens can't be verified."""
        return all(issuer.store.keys.keys for issuer in self._issuers.values())

    @property
    def problems(self) -> list[str]:
        stores = (issuer.store for issuer in self._issuers.values())
        return [store.problem for store in stores if store.problem is not None]

    @property
    def keys_in_force(self) -> dict[str, Mapping[str, object]]:
        """The keys by issuer, then by id; a key without an id has the empty one."""
        return {
            name: {key.key_id or "": key for key in issuer.store.keys.keys}
            for name, issuer in self._issuers.items()
        }

    @property
    def ages_s(self) -> dict[str, float]:
        """How long ago each issuer last confirmed its keys."""
        return {name: issuer.store.age_s for name, issuer in self._issuers.items()}


def make_jwt_verifier(entries: Iterable[JwtSettings]) -> JwtVerifier:
    """Raises SettingsError for all files of keys that can't be used."""
    issuers, problems = [], []
    for entry in entries:
        try:
            issuers.append(Issuer(entry, _store(entry)))
        except (OSError, ValueError) as error:
            problems.append(f"jwks_file of {entry.issuer}: {error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return JwtVerifier(issuers)


def _store(entry: JwtSettings) -> KeyStore:
    if entry.jwks_url is not None:
        return FetchedKeys(entry.issuer, JwksClient(entry.jwks_url).fetch)
    assert entry.jwks_file is not None  # noqa: S101 - the settings' own validation
    return FileKeys(entry.issuer, entry.jwks_file)
