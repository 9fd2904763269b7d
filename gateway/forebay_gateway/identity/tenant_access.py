"""Whose calls a caller may reach: those of its own tenant and, with a permission, all. Pure."""

from __future__ import annotations

from collections.abc import Callable

from forebay.errors import PermissionDenied
from forebay_gateway.identity.permissions import ANY_TENANT
from forebay_gateway.identity.principal import NOBODY, Principal

May = Callable[[Principal, str], bool]
"""Whether the principal has the permission."""


def unless_known(principal: Principal, permission: str) -> bool:
    """Where authentication is off, everyone may everything; a caller that is known, nothing."""
    return principal == NOBODY


def reaches_tenant(principal: Principal, may: May, tenant: str | None) -> bool:
    """Whether the principal may reach the tenant's calls; None: those of all tenants."""
    return tenant == principal.tenant or may(principal, ANY_TENANT)


def check_tenant(principal: Principal, may: May, tenant: str | None) -> None:
    """Raises PermissionDenied where the principal may not reach the tenant's calls.

    The answer is the same whether there is such a tenant, or such a call, or not.
    """
    if not reaches_tenant(principal, may, tenant):
        raise PermissionDenied(f"calls of another tenant need the permission {ANY_TENANT}")
