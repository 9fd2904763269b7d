"""Admits the calls of tenants by their quotas, and asks the ledger for shares of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf

from forebay.errors import BackendUnavailable, QuotaExceeded
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.ledger.frames import GatewayFrame, Recall
from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.operations.quotas import Shares, share
from forebay_backends.ledger.scripts import RENEWAL_INTERVAL_S
from forebay_backends.metrics.instruments import OTHER
from forebay_backends.metrics.registry import Figures
from forebay_backends.settings.tenant_settings import TenantSettings
from forebay_gateway.admission.admission import Permit
from forebay_gateway.admission.retry_after import retry_after_s
from forebay_gateway.quotas.tenant import Tenant, Tenants
from forebay_gateway.quotas.tenant_call import TenantCall
from forebay_gateway.quotas.tenant_use import RATE, Limit

_REVIEW_INTERVAL_S = 1.0
_WAITS_S = (0.0, 0.01, 0.04, 0.1)
"""Before each attempt to get more: meanwhile other gateways give back what they do not use."""
_REFUSED_FOR_S = 0.05
"""For that long after a refusal the ledger is not asked again: a flood costs it nothing."""
_LOW_INTERVAL_S = 0.1
_JOIN_S = 2.0

_log = logging.getLogger(__name__)

RunShare = Callable[[Operation[Shares]], Awaitable[Shares]]


class TenantQuotas:
    """The quotas of all tenants at this gateway.

    `run` runs an operation of the ledger; None if this gateway has none: then each of its
    `processes` has an equal part of each limit. `gateway` is the gateway's channel.
    """

    def __init__(
        self,
        tenants: Mapping[str, TenantSettings],
        gateway: str,
        run: RunShare | None,
        processes: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = tenants
        self._gateway = gateway
        self._run = run
        self._clock = clock
        self._tenants = Tenants(tenants, processes)
        self._refused: dict[tuple[str, ...], float] = {}
        self._background_tasks = BackgroundTasks()
        self._outage = OutageLog(
            _log,
            "the ledger does not answer; quotas count in each gateway by itself",
            "quotas are counted over all gateways again",
        )

    def limits(self, tenant: str) -> TenantSettings:
        return self._tenants[tenant].use.settings

    def counted(self, tenant: str, permit: Permit) -> TenantCall:
        """Counts what an RPC of the tenant uses, until the block is left; see `TenantCall`."""
        return TenantCall(self, self._tenants[tenant], permit)

    def on_frame(self, key: str, frame: GatewayFrame) -> None:
        """Handles a frame of the gateway's channel."""
        if isinstance(frame, Recall):
            found = self._tenants.get(frame.tenant)
            if found is not None:
                found.use.on_recall(self._clock())
                self._give_back(found)

    async def run(self) -> None:
        """Renews shares, and gives back what is not needed, until cancelled."""
        await run_periodically(_REVIEW_INTERVAL_S, self._review, _log, "reviewing quotas")

    async def join(self) -> None:
        """Waits until the ledger has what was given back; gives up after a while."""
        await self._background_tasks.join(_JOIN_S)

    def figures(self) -> Figures:
        """The metrics of tenants; those that the settings do not name count as one."""
        calls: dict[tuple[str, ...], float] = {}
        for tenant in self._tenants.values():
            label = self._label(tenant.name)
            for state, limit in (("IN_FLIGHT", Limit.IN_FLIGHT), ("WAITING", Limit.QUEUED)):
                labels = label, state
                calls[labels] = calls.get(labels, 0) + tenant.use.shares[limit].used
        return {
            "forebay_tenant_calls": calls,
            "forebay_tenant_refused_total": dict(self._refused),
        }

    async def take(self, tenant: Tenant, limit: Limit, amount: int) -> None:
        """Uses the amount, at once if this gateway's share has it; else raises QuotaExceeded."""
        share = tenant.use.shares[limit]
        if share.take(amount):
            if share.is_low:
                self._ask(tenant)
            return
        now = self._clock()
        share.waiting += amount
        try:
            is_full = now < tenant.full_until.get(limit, -inf)
            if not is_full and await self._more(tenant, lambda: share.take(amount)):
                return
        finally:
            share.waiting -= amount
        if not is_full:
            tenant.full_until[limit] = self._clock() + _REFUSED_FOR_S
        raise self._refusal(tenant, limit)

    def on_free(self, tenant: Tenant) -> None:
        """The tenant uses less than before."""
        if tenant.use.may_be_tight and tenant.use.is_tight(self._clock()):
            self._give_back(tenant)

    async def take_token(self, tenant: Tenant) -> None:
        """Counts a new call for which the tenant has no token here.

        Raises QuotaExceeded if there were too many within the last second.
        """
        use = tenant.use
        if not use.token_in_s(self._clock()):
            use.tokens_waiting += 1
            try:
                if await self._more(tenant, use.take_token, waits_s=_WAITS_S[:1]):
                    return
            finally:
                use.tokens_waiting -= 1
        self._count_refusal(tenant, RATE)
        raise QuotaExceeded(
            f"this tenant may make {use.settings.per_second:g} calls a second, and has",
            retry_after_s=retry_after_s(use.token_in_s(self._clock())),
            quota=RATE,
        )

    async def _more(
        self, tenant: Tenant, take: Callable[[], bool], waits_s: tuple[float, ...] = _WAITS_S
    ) -> bool:
        """Asks for a larger share until `take` succeeds; False if it does not."""
        for wait_s in waits_s:
            if wait_s:
                if tenant.use.gateways < 2 or self._run is None:
                    return False
                await asyncio.sleep(wait_s)
            came_at = self._clock()
            async with tenant.lock:
                if take():
                    return True
                if tenant.asked_at < came_at:  # else the last answer counted this call too
                    await self._exchange(tenant)
                if take():
                    return True
        return False

    async def _exchange(self, tenant: Tenant) -> None:
        """Reports what is used, and takes the share that the ledger gives; the lock is held."""
        began, (tokens, uses) = self._clock(), tenant.use.report()
        try:
            if self._run is None:
                tenant.use.on_outage(tokens.returned, began)
            else:
                shares = await self._run(share(tenant.name, self._gateway, tokens, uses))
                tenant.use.on_shares(shares, self._clock())
                self._outage.succeeded()
        except BackendUnavailable as error:
            self._outage.failed(error)
            tenant.use.on_outage(tokens.returned, self._clock())
        tenant.asked_at = began

    async def _review(self) -> None:
        now = self._clock()
        for tenant in tuple(self._tenants.values()):
            use = tenant.use
            if use.is_idle and not use.has_spare:
                del self._tenants[tenant.name]
            elif use.has_spare or now - use.asked_at > RENEWAL_INTERVAL_S:
                await self._exchange_locked(tenant)

    async def _exchange_locked(self, tenant: Tenant) -> None:
        async with tenant.lock:
            await self._exchange(tenant)

    def _ask(self, tenant: Tenant) -> None:
        """Asks for more in the background, unless it did so just now, or there is no more."""
        now = self._clock()
        if now - tenant.low_at > _LOW_INTERVAL_S and not tenant.use.is_tight(now):
            tenant.low_at = now
            self._background_tasks.start(self._exchange_locked(tenant))

    def _give_back(self, tenant: Tenant) -> None:
        if not tenant.is_returning:
            tenant.is_returning = True
            self._background_tasks.start(self._returned(tenant))

    async def _returned(self, tenant: Tenant) -> None:
        try:
            async with tenant.lock:
                tenant.is_returning = False  # what is freed from now on needs another report
                if tenant.use.has_spare:
                    await self._exchange(tenant)
        finally:
            tenant.is_returning = False

    def _refusal(self, tenant: Tenant, limit: Limit) -> QuotaExceeded:
        self._count_refusal(tenant, limit.value)
        most = getattr(tenant.use.settings, limit.value)
        rate = tenant.completions.per_s()
        # All refused callers retry, so the delay lasts until a twentieth of the calls have ended.
        calls = tenant.use.shares[Limit.IN_FLIGHT].used
        return QuotaExceeded(
            _REFUSALS[limit].format(most),
            retry_after_s=retry_after_s(max(1.0, calls / 20) / rate if rate else None),
            quota=limit.value,
        )

    def _count_refusal(self, tenant: Tenant, quota: str) -> None:
        labels = self._label(tenant.name), quota
        self._refused[labels] = self._refused.get(labels, 0) + 1

    def _label(self, tenant: str) -> str:
        return tenant if tenant in self._settings else OTHER


_REFUSALS = {
    Limit.IN_FLIGHT: "this tenant has its limit of {} calls in flight, over all gateways",
    Limit.QUEUED: "this tenant has its limit of {} calls that wait for a worker, over all gateways",
    Limit.HELD_BYTES: "this tenant's calls may hold {} bytes in gateways, and this one needs more",
}
