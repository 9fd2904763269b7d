"""The cost of tokens.

First, the CPU time to verify a token: a JWT that is new, a JWT that was verified before, and an API
key. Then, how long a caller waits beside others whose tokens name unknown keys: a careless gateway
would fetch the provider's keys for each of them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from bench import systems
from bench.callers import seconds_of
from bench.rounds import Figure, Goal, Series, interleave, quantile
from bench.stage import Stage
from forebay.v1.calls_pb2 import WhoAmIRequest
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_backends.settings import given_settings
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.editing import add_key
from forebay_gateway.identity.verifiers import Verifiers, make_verifiers
from tests.identity_provider import (
    ALGORITHMS,
    IdentityProvider,
    issuer_settings,
    jwks_server,
    segment,
    with_document,
)

_MEASURED = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Plan:
    """The number of rounds, and of tokens in each."""

    rounds: int
    tokens: int
    others: int
    """The tokens of the other callers, in the second measurement."""


FULL = Plan(rounds=7, tokens=500, others=1000)
QUICK = Plan(rounds=1, tokens=100, others=200)


def measure(_: Stage, plan: Plan) -> Iterator[Figure]:
    """Verifies tokens in this process; then calls a gateway that others flood."""
    yield from _verifying(plan)
    yield from _beside_others(plan)


def _verifying(plan: Plan) -> Iterator[Figure]:
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
    entry = issuer_settings(jwks_file=str(jwks)) | {"algorithms": ALGORITHMS}
    settings = given_settings(auth={"jwt": [entry], "keys": [{"file": keys}]})
    return make_verifiers(settings.auth), token


def _first_sight(
    verifiers: Verifiers, provider: IdentityProvider, algorithm: str, count: int
) -> float:
    """The µs of CPU to verify a token that is new to the verifiers."""
    now = str(time.time_ns())
    tokens = [provider.token(f"{algorithm}-0", jti=f"{now}-{number}") for number in range(count)]
    return asyncio.run(_verified(verifiers, tokens))


async def _verified(verifiers: Verifiers, tokens: Sequence[str]) -> float:
    began = time.process_time()
    for token in tokens:
        await verifiers.verify(token)
    return (time.process_time() - began) / len(tokens) * 1e6


def _again(verifiers: Verifiers, token: str, count: int) -> float:
    """The µs of CPU to look up a token that was verified before, or an API key."""
    remembered: Callable[[str], object] = verifiers.remembered
    began = time.process_time()
    for _ in range(count):
        remembered(token)
    return (time.process_time() - began) / count * 1e6


def _beside_others(plan: Plan) -> Iterator[Figure]:
    """The p99 of a caller with an API key, beside calls with good tokens and with unknown keys."""
    provider = IdentityProvider()
    with _flooded_gateway(provider) as (address, key, folder):
        beside = partial(_p99_ms, address, key, folder)
        known = provider.token()
        found = interleave(
            plan.rounds,
            {
                "good": lambda: beside([known] * plan.others),
                "unknown": lambda: beside(_of_unknown_keys(provider, plan.others)),
            },
        )
    ours = Series(f"{plan.others} tokens with random key ids", found["unknown"])
    theirs = Series(f"{plan.others} good tokens", found["good"])
    yield Figure("token_p99", "p99 of a call beside", "ms", ours, theirs, Goal(1.2), row=24)


@contextmanager
def _flooded_gateway(provider: IdentityProvider) -> Iterator[tuple[str, str, Path]]:
    """Yields a gateway's address, the token of a caller that it knows, and a folder for tokens."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = stack.enter_context(jwks_server())
        server.answer = with_document(provider.jwks())
        key, token = new_key("acme", ("caller",), None, None)
        add_key(folder / "keys.toml", key)
        entry = issuer_settings(jwks_url=server.url)
        auth = {"jwt": [entry], "keys": [{"file": str(folder / "keys.toml")}]}
        roles = {name: ["forebay.calls.read"] for name in ("caller", "operator")}
        settings = {"FOREBAY_AUTH": json.dumps(auth), "FOREBAY_ROLES": json.dumps(roles)}
        backend = stack.enter_context(systems.backend(settings))
        address, _ = stack.enter_context(systems.gateway(backend))
        yield address, token, folder


def _of_unknown_keys(provider: IdentityProvider, count: int) -> list[str]:
    """Copies of a good token with random key ids in their headers; no signature matches."""
    _, claims, signature = provider.token().split(".")
    heads = ({"alg": "RS256", "kid": secrets.token_hex(8)} for _ in range(count))
    return [f"{segment(head)}.{claims}.{signature}" for head in heads]


def _p99_ms(address: str, key: str, folder: Path, tokens: Sequence[str]) -> float:
    """The p99 of calls made one after the other, while a process makes a call with each token."""
    (folder / "tokens").write_text("\n".join(tokens))
    command = [sys.executable, "-m", "bench.load.many_tokens", address, str(folder / "tokens")]
    metadata = (("authorization", f"Bearer {key}"),)
    times: list[float] = []
    with (
        grpc.insecure_channel(address) as channel,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as others,
    ):
        stub = CallServiceStub(channel)
        call = partial(stub.WhoAmI, WhoAmIRequest(), metadata=metadata, timeout=_TIMEOUT_S)
        call()
        assert others.stdout is not None
        assert others.stdin is not None
        others.stdout.readline()
        others.stdin.write(b"\n")
        others.stdin.flush()
        while others.poll() is None:
            times.append(seconds_of(call))
    return quantile(times, 0.99) * 1000
