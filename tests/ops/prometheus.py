"""A real Prometheus, started with `ops/prometheus.yml`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.harness import environment, eventually, free_port, process

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, by its HTTP API."""

    address: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series now; fails the test if the expression can't be parsed."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def query_range(
        self, expression: str, start_s: float, end_s: float, step_s: float
    ) -> list[dict[str, Any]]:
        """The series over a time."""
        found: list[dict[str, Any]] = self._get(
            "query_range", query=expression, start=start_s, end=end_s, step=step_s
        )["result"]
        return found

    def targets_up(self) -> int:
        """How many targets answered their last scrape."""
        return len(self.query("up == 1"))

    def rules(self) -> dict[str, str]:
        """The state of each alert: inactive, pending or firing."""
        groups = self._get("rules")["groups"]
        return {rule["name"]: rule["state"] for group in groups for rule in group["rules"]}

    def _get(self, what: str, **parameters: object) -> Any:
        with closing(HTTPConnection(self.address, timeout=_TIMEOUT_S)) as connection:
            connection.request("GET", f"/api/v1/{what}?{urlencode(parameters)}")
            answer = json.load(connection.getresponse())
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]


def require_prometheus() -> None:
    """Skips the test where Prometheus is not installed; in CI that is a failure."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        missing = "prometheus is not installed (Debian: apt-get install prometheus)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)


@contextmanager
def prometheus(
    folder: Path, gateways: list[str], workers: list[str], scrape_interval: str = "1s"
) -> Iterator[Prometheus]:
    """Scrapes these targets, by the shipped configuration, and evaluates the shipped rules."""
    config = yaml.safe_load((OPS / "prometheus.yml").read_text())
    targets = {"forebay-gateway": gateways, "forebay-worker": workers}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": targets.pop(job["job_name"])}]
    assert not targets
    config["global"] = {
        "scrape_interval": scrape_interval,
        "scrape_timeout": scrape_interval,
        "evaluation_interval": scrape_interval,
    }
    config["rule_files"] = [str(OPS / name) for name in config["rule_files"]]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    with process(
        *["prometheus", f"--config.file={folder / 'prometheus.yml'}"],
        *[f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"],
        env=environment(),
    ) as running:
        running.wait_for("Server is ready to receive web requests")
        found = Prometheus(address)
        expected = len(gateways) + len(workers)
        eventually(lambda: found.targets_up() == expected, "Prometheus scrapes all targets")
        yield found
