"""The cost of tokens.

First, the CPU time to verify a token: a JWT that is new, a JWT that was verified before, and an API
key. Then, what calls with such tokens cost, against calls without authentication. At last, how long
a caller waits beside others whose tokens name unknown keys: a careless gateway would fetch the
provider's keys for each of them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from bench import costs, systems
from bench.callers import seconds_of
from bench.cpu import family
from bench.credentials import Credentials, NewTokens
from bench.rounds import Figure, Goal, Series, interleave, over_starts, quantile
from bench.stage import Stage
from forebay.v1.calls_pb2 import WhoAmIRequest
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_backends.settings import given_settings
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.editing import add_key
from forebay_gateway.identity.verdicts import MOST_TOKENS
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
_ROW = 24
_NEW, _NEW_KEY = "a new JWT in each call, ES256", "ES256-0"


@dataclass(frozen=True)
class Plan:
    """The number of rounds, and of tokens in each."""

    rounds: int
    tokens: int
    calls: costs.Plan
    new_tokens: int
    """The tokens of a load whose calls have one each."""
    others: int
    """The tokens of the other callers, in the last measurement."""
    floods: int
    """The rounds of the last measurement; there are many, as each p99 is of only some 200 calls."""


FULL = Plan(7, tokens=500, calls=costs.FULL, new_tokens=MOST_TOKENS + 2000, others=1000, floods=21)
QUICK = Plan(1, tokens=100, calls=costs.QUICK, new_tokens=5000, others=200, floods=1)


def measure(_: Stage, plan: Plan) -> Iterator[Figure]:
    """Verifies tokens in this process; then calls a gateway; then one that others flood."""
    yield from _verifying(plan)
    yield from _calling(plan)
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
    for token in (known, key):
        asyncio.run(verifiers.verify(token))
    contenders["a JWT that was verified before"] = partial(_again, verifiers, known, plan.tokens)
    contenders["an API key"] = partial(_again, verifiers, key, plan.tokens)
    for number, (name, values) in enumerate(interleave(plan.rounds, contenders).items()):
        yield Figure(
            f"token_{number}", "Verifying a token", "µs of CPU", Series(name, values), row=_ROW
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
    """The µs of CPU to look up a token that was verified before."""
    remembered: Callable[[str], object] = verifiers.remembered
    began = time.process_time()
    for _ in range(count):
        remembered(token)
    return (time.process_time() - began) / count * 1e6


def _calling(plan: Plan) -> Iterator[Figure]:
    found = over_starts(plan.calls.starts, partial(_calls, plan))
    # There is no goal for new tokens, since verifying one takes as long as most of a call.
    yield from costs.against_plain("token_calls", found, row=_ROW, goalless=[_NEW])


def _calls(plan: Plan) -> dict[str, tuple[costs.Costs, ...]]:
    """A gateway that knows its callers, and one that does not; they share worker and ledger."""
    provider = IdentityProvider(_NEW_KEY)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        (folder / "jwks.json").write_bytes(provider.jwks())
        issuer = issuer_settings(jwks_file=str(folder / "jwks.json"))
        settings, key = _known_callers(folder, issuer | {"algorithms": ALGORITHMS}, "*")
        backend = stack.enter_context(systems.backend())
        worker = stack.enter_context(
            systems.celery_worker("forebay_workers", "add", backend.product_env)
        )
        known = replace(backend, product_env={**backend.product_env, **settings})
        gateways = {
            name: stack.enter_context(systems.gateway(of))
            for name, of in (("known", known), (costs.PLAIN, backend))
        }

        def contender(gateway: str, credentials: Credentials) -> costs.Contender:
            address, pid = gateways[gateway]

            def pids() -> tuple[int, ...]:
                return pid, *family(worker.popen.pid), backend.server_pid

            made = costs.contender(address, pids, credentials, plan.calls)
            return stack.enter_context(made)

        def new_token() -> str:
            return provider.token(_NEW_KEY, jti=str(uuid.uuid4()))

        contenders = {
            "a JWT, verified once": contender("known", Credentials(token=new_token())),
            "an API key": contender("known", Credentials(token=key)),
            _NEW: contender(
                "known",
                Credentials(token=NewTokens(new_token, folder / "tokens", plan.new_tokens)),
            ),
            costs.PLAIN: contender(costs.PLAIN, Credentials()),
        }
        return costs.take_turns(contenders, plan.calls)


def _known_callers(
    folder: Path, issuer: Mapping[str, object], permission: str
) -> tuple[dict[str, str], str]:
    """The settings of a gateway that knows the issuer's callers and an API key; the key's token."""
    key, token = new_key("acme", ("caller",), None, None)
    add_key(folder / "keys.toml", key)
    auth = {"jwt": [issuer], "keys": [{"file": str(folder / "keys.toml")}]}
    roles = {name: [permission] for name in ("caller", "operator")}
    return {"FOREBAY_AUTH": json.dumps(auth), "FOREBAY_ROLES": json.dumps(roles)}, token


def _beside_others(plan: Plan) -> Iterator[Figure]:
    """The p99 of a caller with an API key, beside calls with good tokens and with unknown keys."""
    provider = IdentityProvider()
    with _flooded_gateway(provider) as (address, key, folder):
        beside = partial(_p99_ms, address, key, folder)
        known = provider.token()
        found = interleave(
            plan.floods,
            {
                "good": lambda: beside([known] * plan.others),
                "unknown": lambda: beside(_of_unknown_keys(provider, plan.others)),
            },
        )
    ours = Series(f"{plan.others} tokens with random key ids", found["unknown"])
    theirs = Series(f"{plan.others} good tokens", found["good"])
    yield Figure("token_p99", "p99 of a call beside", "ms", ours, theirs, Goal(1.2), row=_ROW)


@contextmanager
def _flooded_gateway(provider: IdentityProvider) -> Iterator[tuple[str, str, Path]]:
    """Yields a gateway's address, the token of a caller that it knows, and a folder for tokens."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = stack.enter_context(jwks_server())
        server.answer = with_document(provider.jwks())
        issuer = issuer_settings(jwks_url=server.url)
        settings, token = _known_callers(folder, issuer, "forebay.calls.read")
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
