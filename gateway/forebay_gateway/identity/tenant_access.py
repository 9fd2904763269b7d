"""Decides whether a caller may reach a call: its own tenant's, or all with a permission. Pure."""

from __future__ import annotations

from collections.abc import Callable

from forebay.errors import PermissionDenied
from forebay_gateway.identity.permissions import ANY_TENANT
from forebay_gateway.identity.principal import NOBODY, Principal

May = Callable[[Principal, str], bool]
"""Whether the principal has the permission."""


def unless_known(principal: Principal, permission: str) -> bool:
    """The `May` of a gateway without authentication: everyone has all permissions.

    A principal that was authenticated elsewhere has none.
    """
    return principal == NOBODY


def reaches_tenant(principal: Principal, may: May, tenant: str | None) -> bool:
    """Whether the principal may reach the tenant's calls; None stands for all tenants."""
    return tenant == principal.tenant or may(principal, ANY_TENANT)


def check_tenant(principal: Principal, may: May, tenant: str | None) -> None:
    """Raises PermissionDenied if the principal may not reach the tenant's calls.

    The error does not tell whether such a tenant or such a call exists.
    """
    if not reaches_tenant(principal, may, tenant):
        raise PermissionDenied(f"calls of another tenant need the permission {ANY_TENANT}")
