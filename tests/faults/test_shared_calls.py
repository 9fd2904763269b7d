"""Calls that several workers share: who computes, and who may be lost."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.keys import CallKey
from tests.faults.losing import TIMEOUT_S, calling, kill_worker, pool_children
from tests.harness import Process, environment, eventually, forebay_gateway, process, short_folder
from tests.survival.parts import part
from tests.survival.v1.survival_pb2 import Part, Work
from tests.survival.v1.survival_pb2_grpc import SurvivalServiceStub

ROOT = Path(__file__).parents[2]
SIZE = 1000


class Fleet:
    """A gateway, its ledger, and workers of one slot each."""

    def __init__(self, env: dict[str, str], channel: grpc.Channel, ledger: redis.Redis) -> None:
        self._env = env
        self.stub = SurvivalServiceStub(channel)
        self.ledger = ledger
        self._running = ExitStack()
        self.workers: list[Process] = []

    def worker(self, pool: str = "prefork") -> Process:
        """One more worker, ready and known to be."""
        before = len(self._live())
        name = f"w{len(self.workers)}"
        child = self._running.enter_context(
            process(
                *["celery", "-A", "tests.shared.worker", "worker", "-Q", "survival", "-l", "INFO"],
                *["--pool", pool, "--concurrency", "1", "-n", f"{name}@%h"],
                *["--without-mingle", "--without-gossip"],
                env=self._env,
                cwd=ROOT,
            )
        )
        child.wait_for(r" ready\.")
        eventually(lambda: len(self._live()) > before, "it is known")
        self.workers.append(child)
        return child

    def owner_and_guest(self, text: str) -> tuple[Process, Process]:
        """Of two workers, who runs the call, and who computes parts of it as well."""
        eventually(lambda: all(computed(one, text) for one in self.workers), "both are at work")
        number = int(self._field(text, "worker")[1])
        return self.workers[number], self.workers[1 - number]

    def attempt(self, text: str) -> str:
        """The number of the call's attempt."""
        return self._field(text, "attempt")

    def state(self, text: str) -> str:
        """Where the call stands."""
        return self._field(text, "state")

    def _field(self, text: str, name: str) -> str:
        call = CallKey(text)
        field: Any = self.ledger.hget(f"{call.partition}:call:{call}", name)
        return str(field.decode())

    def _live(self) -> list[Any]:
        return list(self.ledger.keys("forebay:worker:*"))  # type: ignore[arg-type]

    def lose_all(self) -> None:
        """Ends the workers, and forgets all that was: the next test's are the first."""
        self._running.close()
        self.workers.clear()
        self.ledger.flushall()


@contextmanager
def running_fleet() -> Iterator[Fleet]:
    """A gateway, so far without workers."""
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.survival.v1.survival_pb2"]',
            FOREBAY_LINGER_S="0.1",
        )
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            grpc.insecure_channel(address) as channel,
            closing(redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock")) as ledger,
        ):
            fleet = Fleet(env, channel, ledger)
            yield fleet
            fleet.lose_all()


@pytest.fixture(scope="module")
def pair() -> Iterator[Fleet]:
    """Two workers that no test loses."""
    with running_fleet() as fleet:
        for _ in range(2):
            fleet.worker()
        yield fleet


@pytest.fixture(scope="module")
def system() -> Iterator[Fleet]:
    with running_fleet() as fleet:
        yield fleet


@pytest.fixture
def fleet(system: Fleet) -> Iterator[Fleet]:
    """Workers that the test starts and loses."""
    yield system
    system.lose_all()


def count(fleet: Fleet, text: str, parts: int, seconds: float) -> list[Part]:
    """The responses to a call whose id is the text."""
    request = Work(text=text, count=parts, size=SIZE, seconds=seconds)
    metadata = (("forebay-call-id", text.replace(" ", "-")),)
    return list(fleet.stub.Count(request, metadata=metadata, timeout=TIMEOUT_S))


def expected(text: str, parts: int) -> list[Part]:
    return [part(text, index, SIZE) for index in range(parts)]


def computed(worker: Process, text: str) -> list[int]:
    """The parts that the worker has begun to compute."""
    return [int(index) for index in re.findall(rf"part (\d+) of {text}\b", worker.output)]


def test_two_workers_share_a_call_and_do_not_do_it_twice(pair: Fleet) -> None:
    share_a_call(pair)


def test_two_workers_with_threads_do_so_too(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.worker("threads")
    share_a_call(fleet)


def share_a_call(fleet: Fleet) -> None:
    assert count(fleet, "shared", 40, 0.3) == expected("shared", 40)
    by_one, by_other = (computed(one, "shared") for one in fleet.workers)
    assert set(by_one + by_other) == set(range(40))
    # A worker that stands still for 2 s, on a machine that is too busy, loses its part.
    assert len(by_one + by_other) <= 42
    assert min(len(by_one), len(by_other)) >= 5


def test_one_worker_alone_shares_nothing_and_does_it_all(fleet: Fleet) -> None:
    worker = fleet.worker()
    assert count(fleet, "alone", 5, 0.01) == expected("alone", 5)
    assert computed(worker, "alone") == list(range(5))
    assert not list(fleet.ledger.keys("*:parts:*"))  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["worker", "child", "frozen"])
def test_a_lost_guest_costs_only_its_part(fleet: Fleet, what: str) -> None:
    for _ in range(2):
        fleet.worker()
    with calling(lambda: count(fleet, "guest", 30, 0.4)) as result:
        owner, guest = fleet.owner_and_guest("guest")
        if what == "child":
            pool_children(guest)[0].kill()
        else:
            kill_worker(guest, signal.SIGKILL if what == "worker" else signal.SIGSTOP)
        had = computed(guest, "guest")
        assert result() == expected("guest", 30)
    if what == "frozen":
        kill_worker(guest, signal.SIGCONT)
    assert fleet.attempt("guest") == "1"
    assert set(computed(owner, "guest")) >= set(range(30)) - set(had)


def test_a_call_whose_owner_is_lost_moves_and_is_whole(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.worker()
    with calling(lambda: count(fleet, "owner", 30, 0.4)) as result:
        owner, guest = fleet.owner_and_guest("owner")
        kill_worker(owner)
        assert result() == expected("owner", 30)
    assert fleet.attempt("owner") == "2"
    assert computed(guest, "owner").count(0) == 1, "the second attempt's"


def test_a_cancelled_call_is_helped_no_more(pair: Fleet) -> None:
    request = Work(text="cancelled", count=100, size=SIZE, seconds=0.3)
    call = pair.stub.Count(request, metadata=(("forebay-call-id", "cancelled"),), timeout=TIMEOUT_S)
    _, guest = pair.owner_and_guest("cancelled")
    call.cancel()
    guest.wait_for("call /cancelled needs no more help")
    assert not list(pair.ledger.keys("*:parts:*"))  # type: ignore[arg-type]
    assert len(computed(guest, "cancelled")) < 50


def test_workers_that_are_all_busy_with_shared_calls_do_not_wait_for_each_other(
    pair: Fleet,
) -> None:
    with (
        calling(lambda: count(pair, "one", 10, 0.3)) as one,
        calling(lambda: count(pair, "other", 10, 0.3)) as other,
    ):
        assert one() == expected("one", 10)
        assert other() == expected("other", 10)


def test_a_call_that_waits_goes_before_help_which_comes_back(pair: Fleet) -> None:
    with calling(lambda: count(pair, "long", 60, 0.3)) as result:
        _, guest = pair.owner_and_guest("long")
        assert pair.stub.Count(Work(text="short", count=1), timeout=TIMEOUT_S).next().index == 0
        assert pair.state("long") == "RUNNING"
        before = len(computed(guest, "long"))
        eventually(lambda: len(computed(guest, "long")) > before, "it helps again")
        assert result() == expected("long", 60)
    assert computed(guest, "short") == [0]


def test_a_part_that_fails_fails_the_call_whoever_computed_it(pair: Fleet) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        count(pair, "fail at 3", 8, 0.2)
    assert of_rpc_error(caught.value).reason == "HANDLER_FAILED"
