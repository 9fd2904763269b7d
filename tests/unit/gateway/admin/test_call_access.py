"""Who reaches which calls, and what the audit log has of it."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from forebay.errors import BackendUnavailable, InvalidRequest, PermissionDenied
from forebay_backends.ledger.keys import CallKey
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.audit.audit_log import AuditLog
from forebay_gateway.audit.entry import Event
from forebay_gateway.identity.permissions import ANY_TENANT
from forebay_gateway.identity.principal import Principal
from forebay_gateway.rpc.context import Context

METHOD = "google.longrunning.Operations/GetOperation"
JANE = Principal("acme", "jane", ("caller",), "keys", "k1")
OPERATOR = Principal("ops", "otto", ("operator",), "keys", "k2")


class Rpc:
    """An RPC of the principal."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    def peer(self) -> str:
        return "ipv4:10.0.0.7:1"

    def invocation_metadata(self) -> None:
        return None


class Site:
    """Access to calls, with an audit log in memory."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.entries: list[dict[str, Any]] = []
        self._is_broken = is_broken
        self.access = CallAccess(
            lambda principal, permission: permission == ANY_TENANT and principal == OPERATOR,
            AuditLog(self._write, is_required=True),
        )

    def _write(self, line: str) -> None:
        if self._is_broken:
            raise OSError("no space left on device")
        self.entries.append(json.loads(line))

    @property
    def told(self) -> list[tuple[str, ...]]:
        wanted = ("event", "decision", "permission", "subject", "owner", "call_id")
        return [tuple(entry[name] for name in wanted) for entry in self.entries]

    def call(self, principal: Principal, name: str, event: Event = Event.READ) -> CallKey:
        return self.access.call(name, _context(principal), event, METHOD)

    def collection(self, principal: Principal, name: str) -> str | None:
        return self.access.collection(name, _context(principal), METHOD)


def _context(principal: Principal) -> Context:
    return cast(Context, Rpc(principal))


def test_a_caller_reads_its_own_calls_without_an_entry() -> None:
    site = Site()
    assert site.call(JANE, "operations/c1") == CallKey("c1", "acme")
    assert site.collection(JANE, "operations") == "acme"
    assert site.told == []


@pytest.mark.parametrize("event", [Event.CANCEL, Event.DELETE])
def test_cancelling_and_deleting_ones_own_calls_has_an_entry(event: Event) -> None:
    site = Site()
    site.call(JANE, "operations/c1", event)
    assert site.told == [(event, "allow", f"forebay.calls.{event}", "jane", "acme", "c1")]


@pytest.mark.parametrize("event", [Event.READ, Event.CANCEL, Event.DELETE])
def test_reaching_another_tenants_call_has_an_entry_of_who_did(event: Event) -> None:
    site = Site()
    assert site.call(OPERATOR, "tenants/acme/operations/c1", event) == CallKey("c1", "acme")
    assert site.told == [(event, "allow", ANY_TENANT, "otto", "acme", "c1")]


def test_listing_others_calls_has_an_entry() -> None:
    site = Site()
    assert site.collection(OPERATOR, "tenants/acme/operations") == "acme"
    assert site.collection(OPERATOR, "tenants/-/operations") is None
    assert site.told == [
        ("read", "allow", ANY_TENANT, "otto", "acme", ""),
        ("read", "allow", ANY_TENANT, "otto", "-", ""),
    ]


def test_being_refused_anothers_calls_has_an_entry() -> None:
    site = Site()
    with pytest.raises(PermissionDenied):
        site.call(JANE, "tenants/umbrella/operations/c1", Event.CANCEL)
    with pytest.raises(PermissionDenied):
        site.collection(JANE, "tenants/-/operations")
    assert site.told == [
        ("cancel", "deny", ANY_TENANT, "jane", "umbrella", "c1"),
        ("read", "deny", ANY_TENANT, "jane", "-", ""),
    ]
    assert {entry["reason"] for entry in site.entries} == {"PERMISSION_DENIED"}


def test_a_name_that_is_none_has_no_entry() -> None:
    site = Site()
    with pytest.raises(InvalidRequest):
        site.call(JANE, "things/c1", Event.DELETE)
    assert site.told == []


def test_what_the_required_log_can_not_have_is_not_done() -> None:
    site = Site(is_broken=True)
    with pytest.raises(BackendUnavailable, match="audit log"):
        site.call(JANE, "operations/c1", Event.CANCEL)
    with pytest.raises(BackendUnavailable):
        site.call(OPERATOR, "tenants/acme/operations/c1")
    with pytest.raises(PermissionDenied):
        site.call(JANE, "tenants/umbrella/operations/c1")
    assert site.call(JANE, "operations/c1") == CallKey("c1", "acme")
