"""An RPC gives back all that it used of its tenant's shares."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from forebay.errors import QuotaExceeded
from forebay_backends.settings.tenant_settings import TenantSettings
from forebay_gateway.admission.admission import CALL_BYTES, Admission, Permit
from forebay_gateway.quotas.tenant import Tenant
from forebay_gateway.quotas.tenant_call import TenantCall
from forebay_gateway.quotas.tenant_use import Limit

LIMIT = CALL_BYTES + 1000


class Refusing:
    """Has no more than the shares."""

    async def take(self, tenant: Tenant, limit: Limit, amount: int) -> None:
        raise QuotaExceeded(limit.value, quota=limit.value)

    async def take_token(self, tenant: Tenant) -> None:
        raise QuotaExceeded("rate", quota="rate")

    def on_free(self, tenant: Tenant) -> None: ...


def whole(**limits: float) -> Tenant:
    """A tenant whose limits this gateway has alone."""
    tenant = Tenant("acme", TenantSettings.model_validate(limits))
    tenant.use.on_outage(0, 0.0)
    return tenant


def call_of(tenant: Tenant, stack: ExitStack) -> tuple[TenantCall, Permit]:
    """A call that has not begun, and its permit."""
    permit = stack.enter_context(Admission(100, 1 << 30).admit("acme"))
    return TenantCall(Refusing(), tenant, permit), permit


def test_bytes_that_fit_count_at_once_and_until_the_call_ends() -> None:
    tenant = whole(in_flight=1, queued=1, held_bytes=LIMIT)
    with ExitStack() as stack:
        call, permit = call_of(tenant, stack)
        assert stack.enter_context(call) is None
        permit.take(1000)
        assert not call.unchecked
        assert (tenant.in_flight.used, tenant.held_bytes.used) == (1, LIMIT)
        permit.hold(-300)
        assert tenant.held_bytes.used == LIMIT - 300
        assert call.wait_begins() is None
        call.wait_ends()
    assert tenant.use.is_idle


async def test_bytes_over_the_share_wait_for_their_check() -> None:
    tenant = whole(held_bytes=LIMIT)
    with ExitStack() as stack:
        call, permit = call_of(tenant, stack)
        stack.enter_context(call)
        permit.take(1500)
        assert (call.unchecked, tenant.held_bytes.waiting) == (1500, 1500)
        permit.hold(-400)
        assert (call.unchecked, tenant.held_bytes.waiting) == (1100, 1100)
        with pytest.raises(QuotaExceeded):
            await call.check_bytes()
        assert tenant.held_bytes.used == CALL_BYTES
        permit.take(1500)
    assert tenant.use.is_idle, "also bytes that were never checked are given back"


async def test_a_call_that_was_refused_gives_back_only_what_it_had() -> None:
    tenant = whole(in_flight=1, held_bytes=10 * LIMIT)
    with ExitStack() as stack:
        first, _ = call_of(tenant, stack)
        stack.enter_context(first)
        with ExitStack() as other:
            wait = other.enter_context(call_of(tenant, other)[0])
            assert wait is not None
            with pytest.raises(QuotaExceeded, match="in_flight"):
                await wait
        assert (tenant.in_flight.used, tenant.held_bytes.used) == (1, CALL_BYTES)
    assert tenant.use.is_idle


async def test_a_call_whose_flat_bytes_do_not_fit_is_refused() -> None:
    tenant = whole(in_flight=2, held_bytes=LIMIT)
    with ExitStack() as stack:
        stack.enter_context(call_of(tenant, stack)[0])
        wait = stack.enter_context(call_of(tenant, stack)[0])
        assert wait is not None
        with pytest.raises(QuotaExceeded, match="held_bytes"):
            await wait
    assert tenant.use.is_idle
