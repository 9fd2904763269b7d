"""The cost of signatures, for one message by its size, and for calls.

Messages are signed and verified in this process. For calls, a system with keys and one without take
turns, each with a gateway, a worker and a ledger of its own.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from bench import callers, systems
from bench.cpu import family
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import cpu_and_rate
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.signing.keyring import Keyring
from forebay_backends.signing.keys import SigningKeys

_SIZES = {"100 B": 100, "1 KiB": 1 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20}
_OFF, _ON = "not signed", "signed"
_ROW = 28


@dataclass(frozen=True)
class Plan:
    """The number of rounds, the duration of a load, calls in flight, calls of one caller."""

    rounds: int
    load_s: float
    in_flight: int
    calls: int


FULL = Plan(rounds=7, load_s=3.0, in_flight=64, calls=300)
QUICK = Plan(rounds=1, load_s=0.5, in_flight=64, calls=50)


@dataclass(frozen=True)
class _System:
    """The three measurements of one system: µs of CPU a call, and each kind's p50 in ms."""

    cost: Callable[[], float]
    ephemeral_p50: Callable[[], float]
    durable_p50: Callable[[], float]


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """First single messages, then calls."""
    ring = Keyring(SigningKeys({"bench": b"k" * 32}))
    sizes = {name: _message_cost(ring, bytes(size)) for name, size in _SIZES.items()}
    found = interleave(plan.rounds, sizes)
    small = Series("100 B", found["100 B"])
    for number, name in enumerate(_SIZES):
        title = "A message is signed and verified"
        each = Series(name, found[name])
        yield Figure(f"signing_message_{number}", title, "µs", each, small, row=_ROW)
    with ExitStack() as stack:
        keys = keys_file(Path(stack.enter_context(TemporaryDirectory())))
        off = stack.enter_context(_system({}, plan))
        on = stack.enter_context(_system({"FOREBAY_SIGNING_KEYS": str(keys)}, plan))
        for key, title, unit, of in (
            ("cpu", "Add, saturated, in gateway, worker and ledger", "µs of CPU", "cost"),
            ("ephemeral", "Add, one caller, p50", "ms", "ephemeral_p50"),
            ("durable", "Add, one caller, p50, durable", "ms", "durable_p50"),
        ):
            taken = interleave(plan.rounds, {_OFF: getattr(off, of), _ON: getattr(on, of)})
            compared = Series(_ON, taken[_ON]), Series(_OFF, taken[_OFF])
            yield Figure(f"signing_{key}", title, unit, *compared, Goal(1.15), row=_ROW)


def keys_file(folder: Path) -> Path:
    """A new file of signing keys in the folder."""
    file = folder / "signing-keys.toml"
    file.write_text(f'[keys]\nbench = "{b64encode(b"k" * 32).decode()}"\n')
    file.chmod(0o600)
    return file


def _message_cost(ring: Keyring, content: bytes) -> Callable[[], float]:
    repeats = max(20, min(5000, (4 << 20) // len(content)))

    def cost() -> float:
        begun = time.perf_counter()
        for _ in range(repeats):
            ring.open(ring.seal(content, "item", "/a", 1), "item", "/a", 1)
        return (time.perf_counter() - begun) * 1e6 / repeats

    return cost


@contextmanager
def _system(env: dict[str, str], plan: Plan) -> Iterator[_System]:
    with (
        systems.backend(env) as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env) as worker,
        systems.gateway(backend) as (address, gateway_pid),
        grpc.insecure_channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)

        def cost() -> float:
            pids = (gateway_pid, *family(worker.popen.pid), backend.server_pid)
            return cpu_and_rate(address, pids, plan.in_flight, plan.load_s)[0]

        def p50(*, durable: bool) -> Callable[[], float]:
            return lambda: callers.p50_ms(lambda: callers.add(stub, durable=durable), plan.calls)

        for durable in (False, True):
            callers.p50_ms(partial(callers.add, stub, durable=durable), 20)
        yield _System(cost, p50(durable=False), p50(durable=True))
