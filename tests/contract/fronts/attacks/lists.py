"""All attacks."""

from __future__ import annotations

from tests.contract.fronts.attacks.floods import FLOODS
from tests.contract.fronts.attacks.headers import HEADERS, NAMELESS
from tests.contract.fronts.attacks.holding import HOLDING
from tests.contract.fronts.attacks.resets import MALFORMED, REFUSED, RESETS

WATCH = b"/grpc.health.v1.Health/Watch"
"""A stream that stays open, at every gateway."""

ENDED = (*HEADERS, *FLOODS, *RESETS, *REFUSED, *MALFORMED)
"""The server ends the connection."""
BOUNDED = (NAMELESS, *HOLDING)
"""The server may keep the connection."""
ATTACKS = (*ENDED, *BOUNDED)
