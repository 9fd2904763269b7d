"""The page of `examples/browser`, with a gateway that lets it in."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness import (
    environment,
    eventually,
    forebay_up,
    free_port,
    listens,
    process,
    short_folder,
)

_EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"


@dataclass(frozen=True)
class ExampleSite:
    """The page's address, the web front's, and the environment of commands."""

    page: str
    gateway: str
    env: dict[str, str]


@contextmanager
def example_site() -> Iterator[ExampleSite]:
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_WEB_ORIGINS=json.dumps([page])
        )
        serve = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
        with (
            forebay_up(env=env) as (up, address),
            process(*serve, "--directory", str(_EXAMPLE), env=env),
        ):
            eventually(lambda: listens(port), "the page is served")
            web = re.search(r"serves browsers on (\S+)", up.output)
            assert web is not None
            yield ExampleSite(page, web[1], {**env, "FOREBAY_ADDRESS": address})
