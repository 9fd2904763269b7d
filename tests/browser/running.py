"""Chromium for tests: one process of Node that drives it, and runs scenarios of `scenarios.mjs`."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests import npm
from tests.harness import environment

SOURCE = Path(__file__).parent
_SCENARIO_S = 110.0


class Browser:
    """Runs one scenario at a time, each in a fresh profile."""

    def __init__(self, node: subprocess.Popen[str]) -> None:
        self._node = node

    def run(self, scenario: str, base: str, **args: Any) -> Any:
        """What the scenario returns; fails the test where it fails.

        It fails as well for errors in the console, and for requests to another host than `base`.
        """
        line = json.dumps({"scenario": scenario, "base": base, "args": args})
        _pipe(self._node.stdin).write(f"{line}\n")
        _pipe(self._node.stdin).flush()
        answers = _pipe(self._node.stdout)
        ready, _, _ = select.select([answers], [], [], _SCENARIO_S)
        text = answers.readline() if ready else ""
        if not text:
            pytest.fail(f"{scenario}: no answer; did Chromium start?")
        answer = json.loads(text)
        if "error" in answer:
            pytest.fail(f"{scenario}: {answer['error']}")
        return answer["result"]


def installed(folder: Path) -> Path:
    """A copy of the driver with its packages, in the folder."""
    return npm.installed(SOURCE, folder, "chromium")


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser, by the driver in the folder."""
    with subprocess.Popen(
        ["node", "driver.mjs", str(shutil.which("chromium"))],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        try:
            yield Browser(node)
        finally:
            _pipe(node.stdin).close()
            try:
                node.wait(20)
            except subprocess.TimeoutExpired:
                node.kill()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
