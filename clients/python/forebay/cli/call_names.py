"""Converts ids of calls, as commands show and accept them, to names of operations and back. Pure.

A call of the caller's own tenant is shown as `ID`, a call of another tenant as `TENANT/ID`.
"""

from __future__ import annotations

from dataclasses import dataclass

import click

_OPERATIONS, _TENANTS = "operations", "tenants"


@dataclass(frozen=True)
class Tenants:
    """The tenants whose calls a command handles: the caller's own, one by name, or all."""

    tenant: str | None = None
    all_tenants: bool = False

    def __post_init__(self) -> None:
        if self.tenant is not None and self.all_tenants:
            raise click.UsageError("--tenant and --all-tenants exclude each other")

    @property
    def collection(self) -> str:
        """The collection to list, such as `tenants/acme/operations`."""
        tenant = "-" if self.all_tenants else self.tenant
        return _OPERATIONS if tenant is None else f"{_TENANTS}/{tenant}/{_OPERATIONS}"

    def name_of(self, given: str) -> str:
        """The operation's name, for an `ID`, a `TENANT/ID` or such a name."""
        tenant, slash, call_id = given.partition("/")
        if tenant in (_OPERATIONS, _TENANTS):
            return given
        if slash:
            return f"{_TENANTS}/{tenant}/{_OPERATIONS}/{call_id}"
        return f"{self.collection}/{given}"

    def may_have(self, name: str) -> bool:
        """Whether the operation may belong to these tenants.

        A name without a tenant belongs to the caller's own tenant, which may be `tenant`: only the
        operation's metadata tells.
        """
        is_own = name.startswith(f"{_OPERATIONS}/")
        return (
            self.all_tenants
            or name.startswith(f"{self.collection}/")
            or (is_own and self.tenant is not None)
        )


OWN = Tenants()


def shown_id(name: str) -> str:
    """`ID` or `TENANT/ID`, by the name of the operation."""
    parent, _, call_id = name.rpartition("/")
    if not parent.startswith(f"{_TENANTS}/"):
        return call_id
    return f"{parent.removeprefix(f'{_TENANTS}/').removesuffix(f'/{_OPERATIONS}')}/{call_id}"


def starts_with(name: str, prefix: str) -> bool:
    """Whether the id in `name` starts with the id in `prefix`; both are names of operations."""
    return name.rpartition("/")[2].startswith(prefix.rpartition("/")[2])
