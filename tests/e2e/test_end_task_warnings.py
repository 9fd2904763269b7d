"""A task of `on_end` that no worker has is named by the gateway's log and by `forebay doctor`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tests.harness import Process, environment, process, redis_server
from tests.told.running import ENDS, ROOT, RUNS, Told

pytestmark = pytest.mark.variant

PROBLEM = (
    "no live worker has the task 'told.ended', which is to be told of the ends of calls, in queue "
    "'told-ends'"
)


@contextlib.contextmanager
def application_of_others(url: str) -> Iterator[Process]:
    """A worker that knows nothing of Forebay, and has the task."""
    command = ["celery", "-A", "tests.told.others", "-b", url, "worker", "-Q", *ENDS, "-c", "1"]
    with process(*command, "-l", "INFO", env=environment(), cwd=ROOT) as worker:
        worker.wait_for(r" ready\.")
        yield worker


def doctor(told: Told, address: str) -> str:
    ran = run("forebay", "doctor", "-t", address, env=told.env, cwd=ROOT)
    return ran.out + ran.err


@pytest.mark.parametrize("fixed_by", ["forebay's worker", "another application's worker"])
def test_a_task_that_nobody_has_is_named_until_a_worker_has_it(
    tmp_path: Path, fixed_by: str
) -> None:
    with redis_server() as url:
        told = Told(tmp_path, {"FOREBAY_LEDGER_URL": url})
        with told.worker(*RUNS), told.gateway() as (gateway, address):
            gateway.wait_for(f"WARNING.*{PROBLEM}; to fix it: start a worker")
            assert PROBLEM in doctor(told, address)
            ours = fixed_by == "forebay's worker"
            with told.worker(*ENDS) if ours else application_of_others(url):
                gateway.wait_for(f"fixed: .*{PROBLEM}")
                printed = doctor(told, address)
                assert PROBLEM not in printed
                assert "on_end told.ended" in printed
