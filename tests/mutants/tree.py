"""A copy of the tree, in which a process tests one mutant after the other.

The process has imported what the tests need of other packages. It forks for each mutant, and the
child imports our own code from the copy.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]
_COPIED = (
    *("clients/python", "backends", "gateway", "workers", "protos", "docs", "tests"),
    "pyproject.toml",
)
_SOURCES = ("clients/python", "backends", "gateway", "workers", ".")
_OURS = ("tests", "forebay", "forebay_backends", "forebay_gateway", "forebay_workers")
_IMPORTED_ONCE = (
    *("celery", "gmpy2", "google.protobuf.json_format", "google.rpc.status_pb2", "grpc.aio"),
    *("hypothesis.stateful", "numpy", "pydantic_settings", "redis.asyncio", "rich"),
)
_OUTPUT = "output.txt"
_OPTIONS = (
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "--hypothesis-seed=0",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)  # of modules that were imported before


class Tree:
    """A copy of the sources and their tests, in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changes = itertools.count(int(time.time()))
        for name in _COPIED:
            _copy(ROOT / name, self._folder / name)
        for name in _IMPORTED_ONCE:
            importlib.import_module(name)

    def passes(self, tests: Sequence[str], timeout_s: float) -> bool | None:
        """Whether all tests pass; None if they did not end in time."""
        child = multiprocessing.get_context("fork").Process(
            target=_run_tests, args=(self._folder, tests)
        )
        child.start()
        child.join(timeout_s)
        if child.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid or 0, signal.SIGKILL)
            child.join()
            return None
        return child.exitcode == pytest.ExitCode.OK

    @property
    def output(self) -> str:
        """What the last tests wrote."""
        return (self._folder / _OUTPUT).read_text(errors="replace")

    @contextlib.contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Changes the mutant's file until the block is left."""
        path = self._folder / mutant.path
        original = path.read_text()
        self._write(path, mutant.applied(original))
        try:
            yield
        finally:
            self._write(path, original)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        # Bytecode is stale if the source has another size, or another time in whole seconds.
        stamp = next(self._changes)
        os.utime(path, (stamp, stamp))


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy(source, target)
    else:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def _run_tests(tree: Path, tests: Sequence[str]) -> None:
    os.setsid()  # so that whatever the tests start can be killed with them
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(tree / _OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.chdir(tree)
    paths = [str(tree / name) for name in _SOURCES]
    sys.path[:] = [*paths, *(path for path in sys.path if path not in ("", str(ROOT)))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    os._exit(pytest.main([*_OPTIONS, *tests]))
