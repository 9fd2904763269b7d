"""The page of `examples/browser`, in a real Chromium."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest

from tests.browser.example_site import ExampleSite, example_site
from tests.browser.running import Browser
from tests.commands import run

SMALL, LARGE = 1000, 700_000


@pytest.fixture(scope="module")
def example() -> Iterator[ExampleSite]:
    with example_site() as site:
        yield site


@pytest.mark.variant
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_computes_goes_on_after_a_reload_and_cancels(
    browser: Browser, example: ExampleSite, scheme: str
) -> None:
    call_id = browser.run(
        "example",
        example.page,
        gateway=example.gateway,
        n=SMALL,
        digits=str(math.factorial(SMALL)),
        large=LARGE,
        scheme=scheme,
    )
    shown = run("forebay", "ps", "--json", "--method", "Factorial", env=example.env).succeeded().out
    (reloaded,) = [line for line in shown.splitlines() if call_id in line]
    assert json.loads(reloaded)["state"] == "SUCCEEDED"
    assert json.loads(reloaded)["attempt"] == 1
