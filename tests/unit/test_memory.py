"""Memory that a process has freed is used again by it."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource
{first}
def messages():
    for size in (8, 8, 8):
        del [bytes(b"x" * (1 << 20)) for _ in range(size)][:]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    messages()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
KEEP = "from forebay_ledger.memory import keep_freed_memory; keep_freed_memory()"


def _page_faults(first: str) -> int:
    program = [sys.executable, "-c", FAULTS.format(first=first)]
    return int(subprocess.run(program, capture_output=True, check=True).stdout)


def test_large_messages_come_into_memory_that_earlier_ones_were_in() -> None:
    assert _page_faults(KEEP) < 100
    assert _page_faults("") > 1000
