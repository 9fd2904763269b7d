"""The shares of tenants' quotas that gateways hold.

A quota is counted over all gateways. Each gateway holds a share of it on a lease, and admits calls
within its share without asking the ledger. It asks for more when its share is nearly used up, and
about once a second gives back what it does not need. If a gateway dies, the lease of its share
expires, and the token bucket fills again with time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from forebay_backends.ledger.keys import PARTITIONS, partition_prefix
from forebay_backends.ledger.operations.base import LEASE_MS, Argument, Operation, Reply


@dataclass(frozen=True)
class Use:
    """How much of a limit a gateway uses, and how much more it needs now.

    `limit` is None if the tenant has no such limit.
    """

    limit: int | None
    used: int = 0
    needed: int = 0


@dataclass(frozen=True)
class Tokens:
    """A request to a token bucket.

    `needed` tokens are for calls that wait now, `more` are a reserve, which is granted if enough
    are left, and `returned` are given back. `rate` is in tokens a second; None: no limit.
    """

    rate: float | None
    burst: float = 1.0
    needed: int = 0
    more: int = 0
    returned: int = 0


@dataclass(frozen=True)
class Shares:
    """The share of a gateway until its lease ends. `limits` are in the order of the `Use`s.

    `gateways` is the number of gateways that use the tenant's quotas. `is_tight`: within the last
    second, one of them needed more than was left. `tokens` are those granted now; `wait_s` is the
    time until the bucket has another.
    """

    gateways: int
    is_tight: bool
    tokens: int
    wait_s: float
    limits: tuple[int, ...]


def share(tenant: str, gateway: str, tokens: Tokens, uses: Sequence[Use]) -> Operation[Shares]:
    """Reports what the gateway uses, and gets its share; `gateway` is its channel.

    If less is left than the gateway needs, the other gateways that hold shares get a `Recall`.
    """
    numbers: list[Argument] = []
    for one in uses:
        numbers += (-1 if one.limit is None else one.limit, one.used, one.needed)
    return Operation(
        "quotas/share",
        partition_prefix(zlib.crc32(tenant.encode()) % PARTITIONS),
        (
            tenant,
            gateway,
            LEASE_MS,
            *("0" if tokens.rate is None else repr(tokens.rate), repr(tokens.burst)),
            *(tokens.needed, tokens.more, tokens.returned),
            *numbers,
        ),
        _shares,
    )


def _shares(reply: Reply) -> Shares:
    gateways, tight, tokens, wait_ms, *limits = reply
    return Shares(
        int(gateways),
        tight == b"1",
        int(float(tokens)),
        float(wait_ms) / 1000,
        tuple(map(int, limits)),
    )
