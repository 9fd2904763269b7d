"""HTTP/2 attacks on a gateway: when it ends the connection, and what the attack costs it."""

from __future__ import annotations

import time

from tests.contract.fronts.attacks.attack import Attack, run_attack
from tests.contract.fronts.attacks.lists import ATTACKS, WATCH
from tests.contract.fronts.callers import other_caller
from tests.process_costs import ProcessCosts, gateway_alone

_MAX_BYTES, _MAX_S = 64 << 20, 10.0
_SETTLE_S = 1.0
_HEAD = """\
| attack | the gateway ends the connection | CPU | more memory | slowest call of another caller |
| --- | --- | --- | --- | --- |"""


def attacked(front: str) -> str:
    """A Markdown row for each attack, on a gateway of its own."""
    rows = [_HEAD]
    for attack in ATTACKS:
        with gateway_alone(FOREBAY_FRONT=front) as (gateway, address):
            rows.append(_row(attack, gateway, address))
    return "\n".join(rows)


def _row(attack: Attack, gateway: ProcessCosts, address: str) -> str:
    with other_caller(address) as other:
        before_s, before_bytes = gateway.cpu_s, gateway.rss_bytes
        with gateway.sampled():
            outcome = run_attack(address, attack, WATCH, _MAX_BYTES, _MAX_S)
            time.sleep(_SETTLE_S)
        cpu_s = gateway.cpu_s - before_s
    grown_bytes = gateway.peak_rss_bytes - before_bytes
    name = f"{attack.name} ({attack.cve})" if attack.cve else attack.name
    frames = "1 frame" if outcome.sent_frames == 1 else f"{outcome.sent_frames:,} frames"
    sent = f"{frames}, {outcome.sent_bytes / 1e6:.2f} MB"
    end = f"after {sent}" if outcome.cut_off else f"no: {sent}"
    slowest_ms = other.slowest_s * 1000
    return f"| {name} | {end} | {cpu_s:.2f} s | {grown_bytes / 1e6:.0f} MB | {slowest_ms:.0f} ms |"
