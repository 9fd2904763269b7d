"""Ids of calls as commands show and take them, and the names of their operations. Pure.

A call of the caller's own tenant is shown by its id, one of another as `TENANT/ID`.
"""

from __future__ import annotations

from dataclasses import dataclass

import click

_OPERATIONS, _TENANTS = "operations", "tenants"


@dataclass(frozen=True)
class Tenants:
    """Whose calls a command is about: the caller's own tenant's, another's, or those of all."""

    tenant: str | None = None
    all_tenants: bool = False

    def __post_init__(self) -> None:
        if self.tenant is not None and self.all_tenants:
            raise click.UsageError("--tenant and --all-tenants exclude each other")

    @property
    def collection(self) -> str:
        """The operations that a listing has."""
        tenant = "-" if self.all_tenants else self.tenant
        return _OPERATIONS if tenant is None else f"{_TENANTS}/{tenant}/{_OPERATIONS}"

    def name_of(self, given: str) -> str:
        """The name of the operation that `ID`, `TENANT/ID`, or a whole name stands for."""
        tenant, slash, call_id = given.partition("/")
        if tenant in (_OPERATIONS, _TENANTS):
            return given
        if slash:
            return f"{_TENANTS}/{tenant}/{_OPERATIONS}/{call_id}"
        return f"{self.collection}/{given}"

    def may_have(self, name: str) -> bool:
        """Whether the operation may be one of these; its metadata has the tenant."""
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
    """Whether the operation's id has the start of the other name's."""
    return name.rpartition("/")[2].startswith(prefix.rpartition("/")[2])
