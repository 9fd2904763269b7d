"""The report of `forebay doctor` about a ledger that accepts no writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commands import run
from tests.faults.backend import Server, server
from tests.harness import environment, free_port


@pytest.fixture(scope="module")
def ledger() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.mark.parametrize(
    ("into", "out_of", "said", "fix"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "is full", "raise `maxmemory`"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "is read-only, a replica", "the primary"),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            "has too few replicas",
            "fix what the server reports",
        ),
    ],
)
def test_doctor_reports_why_a_ledger_that_answers_is_unusable(
    ledger: Server, into: str, out_of: str, said: str, fix: str
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with ledger.refusing(into, out_of):
        ran = run(
            *("forebay", "doctor", "--ledger-url", ledger.url, "--listen", nowhere),
            env=environment(),
        )
    assert ran.code == 1
    (line,) = (line for line in ran.out.splitlines() if "ledger:" in line)
    assert line.startswith("problem")
    assert said in line
    assert fix in ran.out
