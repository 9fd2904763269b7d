"""All that verifies tokens, as the settings say."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from forebay.errors import Unauthenticated
from forebay_backends.metrics.registry import Figures
from forebay_backends.settings import SettingsError
from forebay_backends.settings.identity_settings import AuthSettings
from forebay_gateway.identity.keys.api_key import is_api_key
from forebay_gateway.identity.keys.verifier import ApiKeyVerifier, make_key_verifier
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verdicts import Verdicts

if TYPE_CHECKING:
    from forebay_gateway.identity.jwt.verifier import JwtVerifier


class Verifiers:
    """Verifies tokens of every kind, as a TokenVerifier.

    `loops` are to run as long as the gateway does: they keep keys up to date.
    """

    def __init__(self, jwt: JwtVerifier | None, keys: ApiKeyVerifier | None) -> None:
        self._verdicts = Verdicts()
        self._jwt = jwt
        self._keys = keys
        self._all = tuple(one for one in (keys, jwt) if one is not None)

    def takes(self, token: str) -> bool:
        return self._of(token) is not None

    def remembered(self, token: str) -> Principal | None:
        return self._verdicts.principal(token, time.time())

    def is_in_force(self, principal: Principal) -> bool:
        """Whether the key that has proved the principal is still known here, and unchanged."""
        return any(one.is_in_force(principal) for one in self._all)

    async def verify(self, token: str) -> Principal:
        verifier = self._of(token)
        if verifier is None:
            raise Unauthenticated("the token is of a kind that is not accepted here")
        verdict = await verifier.verify(token)
        self._verdicts.add(token, verdict)
        return verdict.principal

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """The coroutines that keep keys up to date; each runs until it is cancelled."""
        for one in self._all:
            yield from one.loops()

    @property
    def is_ready(self) -> bool:
        """Whether all tokens can be verified: false until each issuer's keys were fetched."""
        return self._jwt is None or self._jwt.is_ready

    @property
    def keys_in_force(self) -> dict[str, Mapping[str, object]]:
        """The keys by file or issuer, then by the key's id."""
        return {name: keys for one in self._all for name, keys in one.keys_in_force.items()}

    @property
    def problems(self) -> list[str]:
        """What is wrong with files and URLs of keys as they are now: older keys are in force."""
        return [problem for one in self._all for problem in one.problems]

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """The roles that API keys have, by file."""
        return {} if self._keys is None else self._keys.roles

    def _of(self, token: str) -> ApiKeyVerifier | JwtVerifier | None:
        """The verifier of tokens of this kind; None if they are not accepted."""
        return self._keys if is_api_key(token) else self._jwt

    def figures(self) -> Figures:
        """The gauges of keys."""
        ages = {} if self._jwt is None else self._jwt.ages_s
        return {
            "forebay_jwks_age_seconds": {(issuer,): age_s for issuer, age_s in ages.items()},
        }


def make_verifiers(auth: AuthSettings) -> Verifiers:
    """Raises SettingsError for all files of keys that can't be used."""
    problems: list[str] = []
    jwt = keys = None
    try:
        jwt = _jwt_verifier(auth) if auth.jwt else None
    except SettingsError as error:
        problems.append(str(error))
    try:
        keys = make_key_verifier(auth.keys) if auth.keys else None
    except SettingsError as error:
        problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    return Verifiers(jwt, keys)


def _jwt_verifier(auth: AuthSettings) -> JwtVerifier:
    # It imports cryptography, which takes 10 MB of memory.
    from forebay_gateway.identity.jwt.verifier import make_jwt_verifier

    return make_jwt_verifier(auth.jwt)
