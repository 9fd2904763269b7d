"""`make setup` after an interruption, and twice at once, with our Makefile and fewer packages."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.commands import run
from tests.harness import Process, environment

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("editables", "hatchling"),
    *("packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"),  # hatchling's
)
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "small"
version = "1"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The Makefile with what `setup` reads; it builds a package with one module."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    locked = (ROOT / "requirements" / "dev.txt").read_text()
    blocks = re.findall(r"^\S+==(?:.*\\\n)*.*\n", locked, re.MULTILINE)
    kept = [block for block in blocks if block.partition("==")[0] in PACKAGES]
    (tmp_path / "requirements" / "dev.txt").write_text("".join(kept))
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "__init__.py").touch()
    (tmp_path / "protos").mkdir()
    return tmp_path


MOMENTS = {
    "-m venv": signal.SIGINT,
    "requirements/uv.txt": signal.SIGKILL,
    "requirements/dev.txt": signal.SIGINT,
    "--editable": signal.SIGKILL,
}
"""What make prints when it begins a step, and the signal that then ends the step and make."""


@pytest.mark.variant
@pytest.mark.timeout(300)
def test_after_interruptions_of_each_step_two_at_once_make_a_whole_environment(tree: Path) -> None:
    env = environment(HOME="/proc/no-such-home")  # uv then goes without its cache
    for step, number in MOMENTS.items():
        interrupted = Process(["make", "setup"], env, tree)
        interrupted.wait_for(re.escape(step))
        os.killpg(interrupted.popen.pid, number)
        assert interrupted.ended() != 0
        assert not (tree / ".venv" / ".ready").exists()

    both = [Process(["make", "setup"], env, tree) for _ in range(2)]
    for each in both:
        assert each.ended(100.0) == 0, each.output
    assert sum("waiting: another make holds .venv.lock" in each.output for each in both) == 1
    python = tree / ".venv" / "bin" / "python"
    found = run(str(python), "-c", "import hatchling, small; print(small.__file__)", env=env)
    assert found.succeeded().out.strip() == str(tree / "small" / "__init__.py")
    assert not any(
        "pip install" in line for line in run("make", "setup", env=env, cwd=tree).out.splitlines()
    )
