"""A process reuses memory that it freed, and its garbage collector is tuned for its work."""

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
KEEP = "from forebay_backends.process.memory import keep_freed_memory; keep_freed_memory()"


def _page_faults(first: str) -> int:
    program = [sys.executable, "-c", FAULTS.format(first=first)]
    return int(subprocess.run(program, capture_output=True, check=True).stdout)


def test_large_messages_reuse_the_memory_of_earlier_ones() -> None:
    assert _page_faults(KEEP) < 100
    assert _page_faults("") > 1000


WORKER = """
import gc
from types import SimpleNamespace
from forebay_backends.settings import load_settings
from forebay_workers import application
from forebay_workers.runtime import process, signals
app = application("w")
worker = SimpleNamespace(app=app, hostname="w", concurrency=1, pool_cls="prefork")
def kept_after_its_start():
    signals.on_worker_init(worker)
    return gc.get_freeze_count()
with process.hosted_worker(load_settings()):
    hosted = kept_after_its_start()
print(hosted, kept_after_its_start() > 10_000)
"""


def test_a_workers_garbage_collector_skips_objects_made_at_startup() -> None:
    """Only in a process of its own: a worker inside another process must not freeze its objects."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 True\n"


GATEWAY = """
import gc
from weakref import WeakSet
from forebay_backends.process.memory import collect_rarely
class Node:
    def __init__(self):
        self.cycle = self
collect_rarely()
def collections():
    return gc.get_stats()[0]["collections"]
before = collections()
in_flight = [[] for _ in range(5_000)]
during = collections()
garbage, most = WeakSet(), 0
for _ in range(50_000):
    garbage.add(Node())
    most = max(most, len(garbage))
print(during - before, most < 12_000, gc.get_freeze_count() > 1_000)
"""


def test_a_gateways_garbage_collector_skips_calls_in_flight_and_finds_cycles() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GATEWAY], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 True True\n"
