"""`ops/` against a real Prometheus, which scrapes a loaded gateway and worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run
from tests.conftest import Up
from tests.harness import environment, eventually, free_port
from tests.ops.dashboard import Query, alert_queries, panel_queries
from tests.ops.prometheus import OPS, ROOT, Prometheus, require_prometheus
from tests.ops.stack import loaded_stack
from tests.pages import DOCS, Reader, blocks

WINDOW = "20s"
OPERATORS_ADDRESS = "127.0.0.1:50052"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The loaded stack."""
    require_prometheus()
    with loaded_stack(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "rules", "alerts.yml"),
        ("promtool", "test", "rules", "alerts_test.yml"),
        ("promtool", "check", "config", "prometheus.yml"),
    ],
)
def test_promtool_accepts_the_files(command: tuple[str, ...]) -> None:
    require_prometheus()
    run(*command, env=environment(), cwd=OPS).succeeded()


@pytest.mark.variant
def test_every_query_of_the_dashboard_returns_data(small: Prometheus) -> None:
    _return_data(small, [Query(one.title, one.over(WINDOW)) for one in panel_queries()])


@pytest.mark.variant
def test_every_query_of_the_rules_is_evaluated(small: Prometheus) -> None:
    assert set(small.rules()) == {query.title for query in alert_queries()}
    for query in alert_queries():
        small.query(query.expression)
    # Without its threshold, each part has data.
    parts = [Query(one.title, part) for one in alert_queries() for part in one.selectors()]
    assert len(parts) > len(alert_queries())
    _return_data(small, parts)


def _return_data(prometheus: Prometheus, queries: Sequence[Query]) -> None:
    """Waits until all do."""
    missing: list[str] = []

    def all_have_data() -> bool:
        missing[:] = [
            f"{query.title}: {query.expression}"
            for query in queries
            if not _has_numbers(prometheus.query(query.expression))
        ]
        return not missing

    try:
        eventually(all_have_data, "every query returns data", timeout_s=60)
    except AssertionError as error:
        raise AssertionError("\n".join(missing)) from error


def _has_numbers(series: list[dict[str, Any]]) -> bool:
    """Whether any value is a number: quantiles of nothing are NaN."""
    return any(one["value"][1] != "NaN" for one in series)


@pytest.mark.parametrize("name", ["scaled-object.yaml", "scaled-object-wait.yaml"])
def test_a_scaled_object_is_valid_by_kedas_schema(name: str) -> None:
    schema = ROOT / "tests" / "schemas" / "keda-scaled-object.json"
    command = ["check-jsonschema", "--schemafile", str(schema), str(OPS / "keda" / name)]
    run(*command, env=environment()).succeeded()


@pytest.mark.variant
def test_the_page_on_monitoring_does_what_it_says(tmp_path: Path) -> None:
    require_prometheus()
    (tmp_path / "ops").symlink_to(OPS)
    instead = {
        OPERATORS_ADDRESS: f"127.0.0.1:{free_port()}",
        "127.0.0.1:9090": f"127.0.0.1:{free_port()}",
        "forebay up": "forebay up --listen 127.0.0.1:0",
    }
    env = environment(FOREBAY_DATA_DIR=str(tmp_path / "data"))
    with Reader(tmp_path, env, instead) as reader:
        reader.read(DOCS / "monitoring.md")


def test_the_page_on_scaling_shows_parts_of_the_files() -> None:
    shown = [block for block in blocks(DOCS / "scaling.md") if block.title]
    assert {block.title for block in shown} == {
        f"ops/keda/{path.name}" for path in (OPS / "keda").iterdir()
    }
    for block in shown:
        assert block.text in (ROOT / block.title).read_text(), block.place


@pytest.mark.variant
def test_the_query_on_the_page_on_scaling_returns_data(small: Prometheus) -> None:
    (query,) = [block.text for block in blocks(DOCS / "scaling.md") if block.language == "text"]
    here = query.replace('"video"', '"factorial"').replace("video.v1", "forebay.compute.v1")
    assert here != query
    eventually(lambda: _has_numbers(small.query(here)), "the query returns data")


def test_the_client_on_the_page_on_scaling_makes_calls(up: Up) -> None:
    (client,) = [block.text for block in blocks(DOCS / "scaling.md") if block.language == "python"]
    here = client.replace("127.0.0.1:50051,127.0.0.1:50061", f"{up.address},{up.address}")
    assert here != client
    call = "grpc.channel_ready_future(channel).result(timeout=20); channel.close()"
    run(sys.executable, "-W", "error", "-c", f"{here}\n{call}", env=environment()).succeeded()
