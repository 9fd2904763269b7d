"""What docs/calls.md shows runs, from its top to its end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.commands import run
from tests.conftest import Up

PAGE = (Path(__file__).parents[2] / "docs" / "calls.md").read_text()
ADDRESS = "127.0.0.1:50051"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_pages_commands_and_program_run(up: Up) -> None:
    first, *rest = blocks("sh")
    [program] = blocks("python")
    for lines in (first, *rest[:1]):
        shell(lines, up)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace(ADDRESS, up.address)],
        env=up.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "operations/report-7 2 forebay.compute.v1.FactorialResponse\n" in done.stdout
    for lines in rest[1:]:
        shell(lines, up)


def shell(lines: str, up: Up) -> None:
    env = {**up.env, "FOREBAY_ADDRESS": up.address}
    for line in lines.splitlines():
        printed = run("sh", "-c", line.replace(ADDRESS, up.address), env=env).succeeded()
        assert printed.out, line


def test_every_command_of_the_pages_table_is_one() -> None:
    commands = set(re.findall(r"^\| `forebay (\w+)", PAGE, re.MULTILINE))
    assert commands == {"ps", "wait", "cancel", "logs", "queues"}
