"""The wheel, and environments that it is installed in: each is made once, when it is first used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.harness import BIN, environment

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 110.0


class Installed:
    """A fresh environment with nothing but what was installed into it."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.env = environment(
            VIRTUAL_ENV=str(folder), PATH=f"{self.bin}:{BIN}:{os.environ['PATH']}"
        )
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)

    def install(self, *arguments: str) -> None:
        """As `pip install`, in less time."""
        self.succeeds(BIN / "uv", "pip", "install", "--quiet", *arguments)

    def run(
        self, program: str | Path, *arguments: str | Path, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """The program, which is the environment's own if that has one of this name."""
        return subprocess.run(
            ["env", program, *arguments],  # which looks in PATH of `env`, not in ours
            cwd=cwd or self.bin,
            env={**self.env, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def succeeds(
        self, program: str | Path, *arguments: str | Path, cwd: Path | None = None, **variables: str
    ) -> str:
        """What the program prints; fails the test if the program fails."""
        done = self.run(program, *arguments, cwd=cwd, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fails(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """What the program prints as its error, in one line without wrapping."""
        done = self.run(program, *arguments, cwd=cwd)
        assert done.returncode != 0, done.stdout
        return done.stderr


class Wheel:
    """The wheel as `make build` makes it, and environments with its extras."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._installed: dict[str, Installed] = {}
        build = [sys.executable, "-m", "build", "--installer", "uv", "--wheel", "--outdir", folder]
        subprocess.run(build, cwd=ROOT, env=environment(), capture_output=True, check=True)
        (self.path,) = folder.glob("*.whl")

    def requirement(self, extra: str = "") -> str:
        """What pip is given to install the wheel with the extra."""
        return f"forebay[{extra}] @ {self.path.as_uri()}"

    def installed(self, extra: str = "") -> Installed:
        """The environment with this extra, which tests share: they install nothing more."""
        if extra not in self._installed:
            made = Installed(self._folder / f"environment-{extra}")
            made.install(self.requirement(extra))
            self._installed[extra] = made
        return self._installed[extra]
