"""`forebay up --reload` with an application of one's own: its log lines, and its changes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tests.harness import Process, environment, process, short_folder

ROOT = Path(__file__).parents[2]
APPLICATION = """
import logging

from forebay_workers import application
from tests.echo.v1 import echo_pb2

SERVICE = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


def answer(request, context):
    logging.getLogger("shop").info("asked for %s", request.text)
    logging.getLogger("shop").debug("a detail")
    print("printed by the handler")
    return echo_pb2.EchoResponse(text="first version")


app = application("shop", {SERVICE: {method.name: answer for method in SERVICE.methods}})
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Process, Path, dict[str, str]]]:
    """`forebay up --reload` in the folder of the application's file, and the variables."""
    file = tmp_path / "shop.py"
    file.write_text(APPLICATION)
    services = '["tests.echo.v1.echo_pb2"]'
    with short_folder() as data:
        env = environment(
            FOREBAY_DATA_DIR=str(data), FOREBAY_SERVICES=services, PYTHONPATH=str(ROOT)
        )
        words = ("--reload", "--log-level", "info", "--app", "shop", "--listen", "127.0.0.1:0")
        with process("forebay", "up", *words, env=env, cwd=tmp_path) as up:
            yield up, file, env


@pytest.mark.variant
def test_up_shows_what_handlers_log_and_restarts_when_a_file_changes(
    shop: tuple[Process, Path, dict[str, str]],
) -> None:
    up, file, env = shop
    assert call(up, env, 1) == "first version"
    up.wait_for(r"\[worker echo\] INFO shop: asked for text")
    up.wait_for("printed by the handler")
    assert "a detail" not in up.output
    assert "INFO celery" not in up.output

    file.write_text("(")
    up.wait_for("shop.py changed: restarting")
    up.wait_for("forebay has ended; it starts again when a file changes")
    file.write_text(APPLICATION.replace("first", "second"))
    assert call(up, env, 2) == "second version"

    assert up.stop() == 0
    assert up.output.endswith("forebay has stopped\n")


def call(up: Process, env: dict[str, str], start: int) -> str:
    """Runs the call that this start has printed, counted from 1, without the gateway's settings."""
    up.wait_for(rf"(?s)(ready on .*){{{start}}}Ctrl-C")
    printed = re.findall(r"^    (forebay call .+)$", up.output, re.MULTILINE)[-1]
    own = {name: value for name, value in env.items() if not name.startswith("FOREBAY_")}
    ran = run(*shlex.split(printed), env=own, cwd=ROOT)
    return str(ran.succeeded().messages[0]["text"])
