"""Ray Serve's own Python environment, without Forebay; it is created once for each lock file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "ray.txt"
FOLDER = ROOT / ".venv-ray"


class NotInstalled(Exception):
    """Ray Serve could not be installed; the message says why, in a line."""


def python() -> str:
    """The interpreter of an environment with the locked packages; creates it if necessary.

    Raises NotInstalled.
    """
    interpreter = FOLDER / "bin" / "python"
    ready, wanted = FOLDER / ".ready", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not ready.exists() or ready.read_text() != wanted:
        _uv("venv", "--clear", "--python", sys.executable, str(FOLDER))
        _uv("pip", "install", "--python", str(interpreter), "--require-hashes", "-r", str(LOCK))
        ready.write_text(wanted)
    return str(interpreter)


def _uv(*words: str) -> None:
    command = [sys.executable, "-m", "uv", *words, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        message = (done.stderr or done.stdout).strip() or f"uv ended with {done.returncode}"
        raise NotInstalled(message.splitlines()[-1].strip())
