"""One tenant's quotas at this gateway: its shares of them, and what it uses. Pure.

The ledger divides each limit into shares of the gateways. For example, of a limit of 100 calls in
flight the first gateway gets a share of 50 with its first call, although it needs 1; the next
gateway gets 17 of the remaining 50. A gateway does not ask the ledger for calls within its share.
If a gateway needs more than remains, the ledger tells the others. They give back at once what they
do not use, and keep nothing in reserve for a second.

While the ledger does not answer, a gateway uses the share that it has, or the limit divided by the
number of gateways at the last answer, whichever is more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from forebay_backends.ledger.operations.quotas import Shares, Tokens, Use
from forebay_backends.settings.tenant_settings import TenantSettings

TIGHT_S = 1.0
"""How long gateways keep nothing in reserve after one needed more than remained."""
_TOKENS_AHEAD_S = 0.1
"""A gateway takes the tokens of this time in advance, so that not every call asks the ledger."""
_RESERVE = 1 / 16
"""A gateway asks for a larger share when less than this part of the limit is left unused."""
RATE = "per_second"


class Limit(StrEnum):
    """The limits that are shared between gateways, as the settings call them."""

    IN_FLIGHT = "in_flight"
    QUEUED = "queued"
    HELD_BYTES = "held_bytes"


@dataclass(slots=True)
class Share:
    """This gateway's share of one limit; `limit` is None if the tenant has no such limit.

    `waiting` is the amount for which callers wait because the share is used up.
    """

    limit: int | None
    granted: int = 0
    used: int = 0
    waiting: int = 0
    easy: float = field(init=False)
    """Up to this use, the share has room and need not be larger."""

    def __post_init__(self) -> None:
        self.grant(self.granted)

    def fits(self, amount: int) -> bool:
        """Whether the share has room for the amount."""
        return self.limit is None or self.used + amount <= self.granted

    def take_easily(self, amount: int) -> bool:
        """Uses the amount, if it fits and leaves the share large enough, as for most calls."""
        used = self.used + amount
        if used > self.easy:
            return False
        self.used = used
        return True

    def take(self, amount: int) -> bool:
        """Uses the amount, if it fits."""
        fits = self.fits(amount)
        if fits:
            self.used += amount
        return fits

    def grant(self, granted: int) -> None:
        """Changes the share; does nothing without a limit."""
        if self.limit is None:
            self.easy = inf
            return
        self.granted = granted
        self.easy = granted if granted >= self.limit else granted - self.limit * _RESERVE

    @property
    def is_low(self) -> bool:
        """Whether little is left of the share, so that a larger one should be asked for."""
        return self.used > self.easy

    @property
    def use(self) -> Use:
        """The report to the ledger: used is what the share covers; all else is needed."""
        covered = min(self.used, self.granted)
        return Use(self.limit, covered, self.used + self.waiting - covered)


@dataclass(slots=True)
class TenantUse:
    """One tenant at this gateway. Times are seconds of the monotonic clock."""

    settings: TenantSettings
    shares: dict[Limit, Share] = field(init=False)
    has_limits: bool = field(init=False)
    """Whether the tenant has one of the limits that are shared."""
    tokens: int = 0
    tokens_waiting: int = 0
    gateways: int = 1
    """How many gateways used the tenant's quotas, by the ledger's last answer."""
    asked_at: float = -inf
    """When the ledger last answered."""
    may_be_tight: bool = False
    """Whether it was tight when `is_tight` was last asked, or has become so since."""
    _tight_until: float = -inf
    _token_at: float = -inf
    _local_tokens: float = 0.0
    _out_since: float = inf

    def __post_init__(self) -> None:
        self.shares = {name: Share(getattr(self.settings, name.value)) for name in Limit}
        self.has_limits = any(share.limit is not None for share in self.shares.values())

    @property
    def burst(self) -> float:
        """How many tokens the bucket holds: those of a second, and at least one."""
        return max(1.0, self.settings.per_second or 0.0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is used or waited for, so that the tenant can be forgotten."""
        waiting = self.tokens_waiting or any(share.waiting for share in self.shares.values())
        return not waiting and not any(share.used for share in self.shares.values())

    @property
    def has_spare(self) -> bool:
        """Whether there is something to give back."""
        return self.tokens > 0 or any(
            share.limit is not None and share.granted > share.used for share in self.shares.values()
        )

    def is_tight(self, now: float) -> bool:
        """Whether what becomes free must be given back at once."""
        self.may_be_tight = now < self._tight_until
        return self.may_be_tight

    def on_recall(self, now: float) -> None:
        """Records that another gateway needs more than remains."""
        self._tight_until = now + TIGHT_S
        self.may_be_tight = True

    def take_token(self) -> bool:
        if self.settings.per_second is None:
            return True
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def token_in_s(self, now: float) -> float:
        """How long the ledger will have no token, so that asking is of no use."""
        return max(0.0, self._token_at - now)

    def report(self) -> tuple[Tokens, list[Use]]:
        """What to report to the ledger and ask it for. Gives back the tokens that are left."""
        rate = self.settings.per_second
        returned, self.tokens = self.tokens, 0
        more = int((rate or 0.0) * _TOKENS_AHEAD_S) if self.tokens_waiting else 0
        tokens = Tokens(rate, self.burst, self.tokens_waiting, more, returned)
        return tokens, [share.use for share in self.shares.values()]

    def on_shares(self, shares: Shares, now: float) -> None:
        """Takes the ledger's answer to a report."""
        self.asked_at, self._out_since = now, inf
        self.gateways = shares.gateways
        self.tokens += shares.tokens
        self._token_at = now + shares.wait_s
        if shares.is_tight:
            self._tight_until = max(self._tight_until, now + TIGHT_S)
            self.may_be_tight = True
        for share, granted in zip(self.shares.values(), shares.limits, strict=True):
            share.grant(granted)

    def on_outage(self, returned: int, now: float) -> None:
        """Makes do without the ledger, which did not answer a report that `returned` tokens."""
        self.tokens += returned
        for share in self.shares.values():
            if share.limit is not None:
                share.grant(max(share.granted, -(-share.limit // self.gateways)))
        rate = (self.settings.per_second or 0.0) / self.gateways
        if not rate:
            return
        most = max(1.0, rate)
        since = min(self._out_since, now)
        self._local_tokens = min(most, self._local_tokens + (now - since) * rate)
        if self._out_since == inf:
            self._local_tokens = most
        self._out_since = now
        whole = int(self._local_tokens)
        self.tokens = max(self.tokens, whole)
        self._local_tokens -= whole
        self._token_at = now + (1 - self._local_tokens) / rate
