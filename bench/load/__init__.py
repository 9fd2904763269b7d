"""Runs load processes, each of which prints its measurements as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.rounds import quantile

WARM_UP_S = 0.5
"""Responses in the first half second of a load are not counted."""
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""The quantiles of the calls' times that a load reports."""
_START_AND_END_S = 60.0


class Window:
    """The time window in which responses are counted, on the clock of `time.perf_counter`."""

    def __init__(self, seconds: float) -> None:
        self.begin = time.perf_counter() + WARM_UP_S
        self.end = self.begin + seconds
        self.seconds = seconds

    def counts(self, now: float) -> bool:
        return self.begin <= now < self.end


@dataclass(frozen=True)
class Load:
    """Calls answered per second, their times, and the number of failures by error.

    `times_ms` are the quantiles of `SHARES`. `cpu_us` is what a call costs the load process itself.
    `calls` counts all answered calls, with those of the warm-up.
    """

    rate: float
    times_ms: tuple[float, ...]
    cpu_us: float
    calls: int
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def p50_ms(self) -> float:
        return self.times_ms[SHARES.index(0.5)]

    @property
    def p99_ms(self) -> float:
        return self.times_ms[SHARES.index(0.99)]


def of_times(
    times: Sequence[float], window: Window, cpu_s: float, calls: int, failures: Mapping[str, int]
) -> Load:
    """The load of calls that took these times, in seconds, and were answered in the window."""
    if not times:
        raise SystemExit(f"no call was answered: {dict(failures)}")
    ordered = sorted(times)
    return Load(
        len(ordered) / window.seconds,
        tuple(quantile(ordered, share) * 1000 for share in SHARES),
        cpu_s * 1e6 / len(ordered),
        calls,
        dict(failures),
    )


def as_json(load: Load) -> str:
    """The load as one line of JSON, which `run` reads."""
    return json.dumps(asdict(load))


def run(program: str, *words: object, env: Mapping[str, str], seconds: float) -> Load:
    """Runs a load process for so many seconds and the warm-up, and returns its measurements.

    Raises RuntimeError if any call failed, since failed calls would distort the rate.
    """
    command = [sys.executable, "-m", program, *map(str, words), str(seconds)]
    done = subprocess.run(
        command,
        env=env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=WARM_UP_S + seconds + _START_AND_END_S,
    )
    fields = json.loads(done.stdout.splitlines()[-1])
    load = Load(**{**fields, "times_ms": tuple(fields["times_ms"])})
    if load.failures:
        raise RuntimeError(f"calls failed under {' '.join(command[2:])}: {load.failures}")
    return load
