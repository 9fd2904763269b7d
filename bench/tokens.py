"""The CPU time to verify a token, by its kind: a JWT at first sight and again, and an API key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rounds import Figure, Series, interleave
from bench.stage import Stage
from forebay_backends.settings import given_settings
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.editing import add_key
from forebay_gateway.identity.verifiers import Verifiers, make_verifiers
from tests.identity_provider import ALGORITHMS, AUDIENCE, ISSUER, IdentityProvider

_MEASURED = ("RS256", "PS256", "ES256", "ES384", "EdDSA")


@dataclass(frozen=True)
class Plan:
    """The number of rounds, and of tokens in each."""

    rounds: int
    tokens: int


FULL = Plan(rounds=7, tokens=500)
QUICK = Plan(rounds=1, tokens=100)


def measure(_: Stage, plan: Plan) -> Iterator[Figure]:
    """Without a gateway: what its guard does for a call."""
    provider = IdentityProvider(*(f"{name}-0" for name in _MEASURED))
    with TemporaryDirectory() as folder:
        verifiers, key = _verifiers(Path(folder), provider)
    contenders = {
        f"{name}, at first sight": partial(_first_sight, verifiers, provider, name, plan.tokens)
        for name in _MEASURED
    }
    known = provider.token()
    asyncio.run(verifiers.verify(known))
    contenders["a JWT that was verified before"] = partial(_again, verifiers, known, plan.tokens)
    contenders["an API key"] = partial(_again, verifiers, key, plan.tokens)
    for number, (name, values) in enumerate(interleave(plan.rounds, contenders).items()):
        yield Figure(
            f"token_{number}", "Verifying a token", "µs of CPU", Series(name, values), row=24
        )


def _verifiers(folder: Path, provider: IdentityProvider) -> tuple[Verifiers, str]:
    """Verifiers, and the token of an API key."""
    jwks, keys = folder / "jwks.json", folder / "keys.toml"
    jwks.write_bytes(provider.jwks())
    key, token = new_key("acme", ("caller",), None, None)
    add_key(keys, key)
    entry = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "algorithms": ALGORITHMS,
        "jwks_file": jwks,
    }
    settings = given_settings(auth={"jwt": [entry], "keys": [{"file": keys}]})
    return make_verifiers(settings.auth), token


def _first_sight(
    verifiers: Verifiers, provider: IdentityProvider, algorithm: str, count: int
) -> float:
    """µs a token, of tokens that nobody has seen."""
    now = str(time.time_ns())
    tokens = [provider.token(f"{algorithm}-0", jti=f"{now}-{number}") for number in range(count)]
    return asyncio.run(_verified(verifiers, tokens))


async def _verified(verifiers: Verifiers, tokens: Sequence[str]) -> float:
    began = time.process_time()
    for token in tokens:
        await verifiers.verify(token)
    return (time.process_time() - began) / len(tokens) * 1e6


def _again(verifiers: Verifiers, token: str, count: int) -> float:
    """µs to find out whose token it is."""
    remembered: Callable[[str], object] = verifiers.remembered
    began = time.process_time()
    for _ in range(count):
        remembered(token)
    return (time.process_time() - began) / count * 1e6
