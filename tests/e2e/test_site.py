"""The site of `make docs`, opened in a browser as a folder on the disk."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.commands import run
from tests.harness import environment

ROOT = Path(__file__).parents[2]
CHROMIUM = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=60000",  # not of real time: scripts run until they wait for nothing
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site."""
    if shutil.which("chromium") is None:
        missing = "chromium is not installed (Debian: apt-get install chromium)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    folder = tmp_path_factory.mktemp("docs") / "site"
    env = environment(NO_MKDOCS_2_WARNING="1")
    build = ["mkdocs", "--quiet", "build", "--strict", "--site-dir", str(folder)]
    run(*build, env=env, cwd=ROOT).succeeded()
    return folder


def opened(page: str, profile: Path) -> str:
    """The page's elements when its scripts have run."""
    options = (*CHROMIUM, f"--user-data-dir={profile}", "--dump-dom")
    return run(*options, page, env=environment()).succeeded().out


def test_the_search_finds_pages_without_a_server(built: Path, tmp_path: Path) -> None:
    page = opened(f"{built.as_uri()}/index.html?q=sentinel", tmp_path / "profile")
    (found,) = re.findall(r'md-search-result__meta">(\d+) matching documents', page)
    assert int(found) > 1
    assert "/redis.html#follow-a-failover-with-sentinel" in page


def test_the_home_page_has_code_and_a_picture(built: Path) -> None:
    page = (built / "index.html").read_text()
    assert 'src="overview.svg"' in page
    assert "HelloServicer" in page


@pytest.mark.parametrize("name", ["dashboard.json", "alerts.yml", "prometheus.yml"])
def test_the_dashboard_and_the_rules_are_on_the_site(built: Path, name: str) -> None:
    source = ROOT / "ops" / name
    assert (built / "source" / "ops" / f"{name}.txt").read_text() == source.read_text()
    assert f'href="source/ops/{name}.txt"' in (built / "monitoring.html").read_text()
