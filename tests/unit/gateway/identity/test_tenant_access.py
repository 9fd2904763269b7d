"""Whose calls a caller may reach."""

from __future__ import annotations

import pytest

from forebay.errors import PermissionDenied
from forebay_gateway.identity.permissions import ANY_TENANT
from forebay_gateway.identity.principal import NOBODY, Principal
from forebay_gateway.identity.tenant_access import (
    check_tenant,
    reaches_tenant,
    unless_known,
)

CALLER = Principal("acme", "alice", ("caller",))
OPERATOR = Principal("ops", "bob", ("operator",))


def may(principal: Principal, permission: str) -> bool:
    return permission == ANY_TENANT and "operator" in principal.roles


@pytest.mark.parametrize(
    ("principal", "tenant", "reaches"),
    [
        (CALLER, "acme", True),
        (CALLER, "umbrella", False),
        (CALLER, "", False),
        (CALLER, None, False),
        (OPERATOR, "acme", True),
        (OPERATOR, "", True),
        (OPERATOR, None, True),
    ],
)
def test_other_tenants_need_the_permission(
    principal: Principal, tenant: str | None, reaches: bool
) -> None:
    assert reaches_tenant(principal, may, tenant) is reaches


def test_the_refusal_names_the_permission_and_no_tenant() -> None:
    check_tenant(CALLER, may, "acme")
    with pytest.raises(PermissionDenied, match=ANY_TENANT) as refused:
        check_tenant(CALLER, may, "umbrella")
    assert "umbrella" not in refused.value.message


def test_without_authentication_everyone_reaches_all() -> None:
    assert reaches_tenant(NOBODY, unless_known, "acme")
    assert reaches_tenant(NOBODY, unless_known, None)


def test_a_known_caller_reaches_no_other_tenant_unless_roles_say_so() -> None:
    assert not reaches_tenant(OPERATOR, unless_known, "acme")
