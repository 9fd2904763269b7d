"""The shipped dashboard and rules, as data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from tests.ops.prometheus import OPS

_METRIC = re.compile(r"\b(?:forebay|rpc_server)_\w+")
_SELECTOR = re.compile(_METRIC.pattern + r"(?:\{[^}]*\})?")
_OF_HISTOGRAMS = re.compile(r"_(?:bucket|sum|count)$")


@dataclass(frozen=True)
class Query:
    """A query, with the title of its panel or the name of its alert."""

    title: str
    expression: str

    def metrics(self) -> set[str]:
        """The metrics that it names."""
        return {_OF_HISTOGRAMS.sub("", name) for name in _METRIC.findall(self.expression)}

    def selectors(self) -> list[str]:
        """The series that it reads: metrics with what their labels must be."""
        return _SELECTOR.findall(self.expression)

    def over(self, window: str) -> str:
        """The expression with the window that Grafana would put in."""
        return self.expression.replace("$__rate_interval", window)


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OPS / "dashboard.json").read_text())
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> list[Query]:
    return [Query(panel["title"], each["expr"]) for panel in panels() for each in panel["targets"]]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alert_queries() -> list[Query]:
    return [Query(rule["alert"], rule["expr"]) for rule in alerts()]
