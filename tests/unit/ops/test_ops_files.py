"""The shipped dashboard and alert rules name what exists, and are explained."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest

from forebay_backends.metrics.instruments import INSTRUMENTS
from tests.ops.dashboard import Query, alert_queries, alerts, dashboard, panel_queries, panels
from tests.ops.prometheus import OPS, ROOT

DOCS = ROOT / "docs"
QUERIES = [*panel_queries(), *alert_queries()]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.title)
def test_every_metric_of_a_query_exists(query: Query) -> None:
    assert query.metrics()
    assert query.metrics() <= {one.name for one in INSTRUMENTS}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for query in panel_queries() for name in query.metrics()}
    assert {one.name for one in INSTRUMENTS} - shown <= {"forebay_calls_accepted_total"}


def test_every_panel_has_a_place_of_its_own() -> None:
    found = dashboard()["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    for one, other in combinations(found, 2):
        assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def test_panels_stand_in_the_order_in_which_people_look() -> None:
    """That of the page, too, and by their places, which Grafana goes by."""
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        "Calls",
        "Queues and workers",
        "Losses",
        "Tenants and identity",
        "Ledger and gateways",
    ]
    titles = [panel["title"] for panel in dashboard()["panels"]]
    main = (
        *("Calls per second", "Errors", "Latency, p50", "Queue wait, p99", "Waiting calls"),
        *("Oldest wait", "Running calls and slots", "Lost attempts and reruns"),
        *("Calls of tenants", "Decisions of the guard", "Ledger round trips, p99"),
    )
    assert [title for title in titles if title in main] == list(main)
    places = [(one["gridPos"]["y"], one["gridPos"]["x"]) for one in dashboard()["panels"]]
    assert places == sorted(places)
    headings = re.findall(r"^### (.+)$", (DOCS / "monitoring.md").read_text(), re.MULTILINE)
    assert [title for title in headings if title in rows] == rows


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all(each["legendFormat"] for each in panel["targets"])
    assert len({each["refId"] for each in panel["targets"]}) == len(panel["targets"])


def test_the_page_explains_every_panel_and_every_alert() -> None:
    page = (DOCS / "monitoring.md").read_text()
    for panel in panels():
        assert f"| {panel['title']} |" in page
    assert re.findall(r"^### (Forebay\w+)$", page, re.MULTILINE) == [
        rule["alert"] for rule in alerts()
    ]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_section(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_every_alert_has_a_unit_test_that_fires_it() -> None:
    text = (OPS / "alerts_test.yml").read_text()
    for rule in alerts():
        cases = re.findall(rf"alertname: {rule['alert']}\n +exp_alerts:(.*)", text)
        assert "" in cases, f"{rule['alert']} never fires"
        assert " []" in cases, f"{rule['alert']} always fires"


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "w"), ("y", "h"))
    )
