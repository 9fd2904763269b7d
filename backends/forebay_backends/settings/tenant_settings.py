"""The settings of tenants: their quotas, and their weights in fair queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from forebay_backends.ledger.tenant_names import is_tenant

DEFAULTS = "*"
"""The name of the entry with the limits of tenants that have none of their own."""


def _tenant_name(value: str) -> str:
    if value != DEFAULTS and not is_tenant(value):
        raise ValueError("expected 1 to 64 of A-Z a-z 0-9 . _ -, or * for the defaults")
    return value


TenantName = Annotated[str, AfterValidator(_tenant_name)]


class TenantSettings(BaseModel):
    """`[tenants.NAME]`: the limits of one tenant; those of `[tenants."*"]` where unset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    in_flight: int | None = Field(None, ge=1, description="limit of calls in flight")
    per_second: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="limit of new calls a second"
    )
    queued: int | None = Field(None, ge=1, description="limit of calls that wait for a worker")
    delayed: int | None = Field(None, ge=1, description="limit of delayed calls")
    held_bytes: int | None = Field(None, ge=1, description="limit of bytes in gateways' memory")
    weight: int | None = Field(None, ge=1, le=100, description="share of the workers; unset: 1")
    max_priority: int | None = Field(None, ge=0, le=9, description="highest priority of a call")

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("expected one of " + ", ".join(sorted(type(self).model_fields)))
        return self


def limits_of(tenant: str, tenants: Mapping[str, TenantSettings]) -> TenantSettings:
    """The tenant's limits: its own, or those of the defaults where it has none."""
    limits: dict[str, object] = {}
    for name in (DEFAULTS, tenant):
        if name in tenants:
            limits |= tenants[name].model_dump(exclude_none=True)
    return TenantSettings.model_construct(**limits)  # type: ignore[arg-type] # as dumped
