"""The cost of all that secures a system together, against a plain one.

The secured system has mTLS, a JWT in each call, permissions, a tenant with quotas in fair queues,
and signed messages. Each of the two has a gateway, a worker and a ledger of its own; they take
turns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import systems
from bench.costs import PLAIN, Contender, Costs, Plan, against_plain, contender, take_turns
from bench.cpu import family
from bench.credentials import Credentials
from bench.rounds import Figure, over_starts
from bench.signing import keys_file
from bench.stage import Stage
from bench.tenants import LIMITS
from tests.certificates import Authority, TlsFiles
from tests.identity_provider import IdentityProvider, issuer_settings

_ROW = 37


def measure(_: Stage, plan: Plan) -> Iterator[Figure]:
    """A saturating load, then single calls."""
    found = over_starts(plan.starts, partial(_measured, plan))
    yield from against_plain("all_secured", found, row=_ROW)


def _measured(plan: Plan) -> dict[str, tuple[Costs, ...]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        settings, credentials = _secured(folder)
        contenders = {
            "all of it": stack.enter_context(_system(settings, credentials, plan)),
            PLAIN: stack.enter_context(_system({}, Credentials(), plan)),
        }
        return take_turns(contenders, plan)


def _secured(folder: Path) -> tuple[dict[str, str], Credentials]:
    authority, provider = Authority(folder), IdentityProvider()
    server, client = authority.issue("server", "127.0.0.1"), authority.issue("client")
    jwks = folder / "jwks.json"
    jwks.write_bytes(provider.jwks())
    settings = {
        **TlsFiles(folder, server, authority.ca).variables(),
        "FOREBAY_AUTH": json.dumps({"jwt": [issuer_settings(jwks_file=str(jwks))]}),
        "FOREBAY_ROLES": json.dumps({name: ["*"] for name in ("caller", "operator")}),
        "FOREBAY_TENANTS": json.dumps({"*": LIMITS}),
        "FOREBAY_SIGNING_KEYS": str(keys_file(folder)),
    }
    return settings, Credentials((authority, client), provider.token())


@contextmanager
def _system(
    settings: Mapping[str, str], credentials: Credentials, plan: Plan
) -> Iterator[Contender]:
    with (
        systems.backend(settings) as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env) as worker,
        systems.gateway(backend) as (address, pid),
    ):

        def pids() -> tuple[int, ...]:
            return pid, *family(worker.popen.pid), backend.server_pid

        with contender(address, pids, credentials, plan) as found:
            yield found
