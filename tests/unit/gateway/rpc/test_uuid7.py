"""UUIDs that sort by creation time."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from forebay_backends.ledger.keys import is_call_id
from forebay_gateway.rpc import uuid7 as ids


class _FakeTime:
    """A `time` whose nanoseconds the test sets."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def time_ns(self) -> int:
        """The time that the test has set."""
        return self.milliseconds * 1_000_000 + 999_999


def _at(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> str:
    monkeypatch.setattr(ids, "time", _FakeTime(milliseconds))
    return ids.uuid7()


def test_an_id_is_a_uuid_of_version_7_and_of_the_rfcs_variant() -> None:
    for _ in range(200):
        value = uuid.UUID(ids.uuid7())
        assert (value.version, value.variant) == (7, uuid.RFC_4122)


def test_an_id_may_be_used_as_a_call_id() -> None:
    assert is_call_id(ids.uuid7())


def test_its_first_48_bits_are_the_time_in_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    # The example of RFC 9562, appendix A.6.
    assert _at(monkeypatch, 1645557742000).startswith("017f22e2-79b0-7")
    assert uuid.UUID(_at(monkeypatch, (1 << 48) - 1)).int >> 80 == (1 << 48) - 1


def test_ids_sort_by_creation_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [0, 1, 255, 256, 1 << 32, 1645557742000, 1645557742001, (1 << 48) - 1]
    made = [_at(monkeypatch, moment) for moment in moments]
    assert made == sorted(made)


def test_ids_of_one_moment_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({_at(monkeypatch, 1) for _ in range(1000)}) == 1000


FORKING = """
import os
from forebay_gateway.rpc.uuid7 import uuid7
uuid7()  # which keeps digits for further ids
child = os.fork()
if child:
    os.waitpid(child, 0)  # Two processes that print at once may print into each other's lines.
print(*(uuid7() for _ in range(100)), flush=True)
"""


def test_no_id_of_a_forked_child_is_one_of_its_parent() -> None:
    printed = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, check=True)
    random_parts = {one[15:] for one in printed.stdout.decode().split()}
    assert len(random_parts) == 200
