"""Pausing an event loop while its process forks."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from forebay_workers.celery_hooks.fork_pause import ForkPause
from tests.harness import eventually


class Looped:
    """An event loop in a thread of its own, and its pause."""

    def __init__(self) -> None:
        self.pause = ForkPause()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._ready.wait()

    async def _run(self) -> None:
        self.pause.attach()
        self.loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._ready.set()
        await self._ended.wait()

    def do(self, what: Callable[[], object]) -> None:
        """Schedules the function in the loop."""
        self.loop.call_soon_threadsafe(what)

    def end(self) -> None:
        """Ends the loop, and its thread."""
        if self._thread.is_alive():
            self.do(self._ended.set)
            self._thread.join()


@pytest.fixture
def looped() -> Iterator[Looped]:
    looped = Looped()
    yield looped
    looped.end()


def test_a_forked_child_can_import_what_the_loop_was_importing(
    looped: Looped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.2)\nvalue = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    begun = threading.Event()
    looped.do(begun.set)
    looped.do(lambda: import_module("slow"))
    begun.wait()
    looped.pause.begin()
    child = os.fork()
    if not child:
        os._exit(import_module("slow").value)
    looped.pause.end()
    codes: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        codes.append(os.waitstatus_to_exitcode(status))
        return pid == child

    try:
        eventually(ended, "the child has imported it", 5.0)
    except AssertionError:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise
    assert codes[-1] == 7
    del sys.modules["slow"]


def test_the_loop_runs_nothing_while_it_is_paused(looped: Looped) -> None:
    done: list[str] = []
    looped.pause.begin()
    looped.do(lambda: done.append("later"))
    assert not done
    looped.pause.end()
    eventually(lambda: done == ["later"], "the loop goes on")


def test_without_a_running_loop_there_is_no_wait(looped: Looped) -> None:
    ForkPause().begin()
    looped.end()
    looped.pause.begin()
    looped.pause.end()
