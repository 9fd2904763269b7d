"""A gateway with the operators' page that knows its callers, of several tenants and roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.browser.stack import SERVICE, page_gateway, post
from tests.e2e.known_calls import new_id
from tests.identities import Keys

_ROLES = {
    "caller": [f"{SERVICE}.*", "forebay.calls.read", "forebay.calls.cancel"],
    "operator": ["forebay.calls.*"],
    "viewer": ["forebay.calls.queues"],
}


@dataclass(frozen=True)
class KnownCallers:
    """The tokens of `acme`, `umbrella`, `operator` and `viewer`; a call of each of the first two.

    Both tenants had a call that failed, too.
    """

    base: str
    tokens: dict[str, str]
    calls: dict[str, str]


@contextmanager
def known_callers(ledger_url: str, folder: Path) -> Iterator[KnownCallers]:
    """On the ledger, whose workers serve the calls."""
    keys = Keys(folder / "keys.toml")
    tokens = {
        "acme": keys.add("acme", "caller", tenant="acme"),
        "umbrella": keys.add("umbrella", "caller", tenant="umbrella"),
        "operator": keys.add("operator", "operator", tenant="ops"),
        "viewer": keys.add("viewer", "viewer", tenant="ops"),
    }
    with page_gateway(ledger_url, **keys.variables(_ROLES)) as (_, _, base, _):
        calls = {}
        for tenant in ("acme", "umbrella"):
            call_id = new_id()
            given = {"authorization": f"Bearer {tokens[tenant]}"}
            post(base, f"{SERVICE}/Unary", {"text": "t"}, forebay_call_id=call_id, **given)
            failing = {"status": {"code": 5, "message": "gone"}}
            post(base, f"{SERVICE}/Unary", failing, **given)
            calls[tenant] = f"operations/{call_id}"
        yield KnownCallers(base, tokens, calls)
