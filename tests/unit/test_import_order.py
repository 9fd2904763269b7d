"""Imports between folders point one way, and no modules import each other in a circle.

Imports for type checkers count too: what is needed to read a module is needed to understand it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.syntax import syntax_tree

ROOT = Path(__file__).parents[2]
SOURCES = ("clients/python", "backends", "gateway", "workers")

# A folder or module may import from those below its line; those on one line do not know each other.
LAYERS = (
    "forebay_gateway.testing forebay_gateway.asgi",
    "forebay_gateway.cli",
    "forebay_gateway.server",
    "forebay_gateway.operators_page",
    "forebay_gateway.admin forebay_gateway.admin_server forebay_gateway.load_reports"
    " forebay_gateway.guard forebay_gateway.scaling",
    "forebay_gateway.durable forebay_gateway.ephemeral forebay_gateway.plain forebay_gateway.web",
    "forebay_gateway.audit forebay_gateway.fronts",
    "forebay_gateway.rpc",
    "forebay_gateway.identity forebay_gateway.tls forebay_gateway.quotas"
    " forebay_gateway.fair_queues",
    "forebay_gateway.admission forebay_gateway.fleet forebay_gateway.metrics"
    " forebay_gateway.profiling",
    "forebay_workers.testing forebay_workers.celery",
    "forebay_workers",
    "forebay_workers.application forebay_workers.compute forebay_workers.asyncio_pool",
    "forebay_workers.execution",
    "forebay_workers.runtime",
    "forebay_workers.lease forebay_workers.metrics",
    "forebay_workers.coroutines",
    "forebay_workers.handler forebay_workers.celery_hooks",
    "forebay_workers.servicers forebay_workers.supervised forebay_workers.native",
    "forebay_backends.reaper forebay_backends.settings",
    "forebay_backends.end_notices",
    "forebay_backends.broker forebay_backends.embedded",
    "forebay_backends.ledger",
    "forebay_backends.urls",
    "forebay_backends.telemetry forebay_backends.signing",
    "forebay_backends.aio forebay_backends.process forebay_backends.metrics",
    "forebay.cli",
    "forebay forebay.aio",
    "forebay.client",
    "forebay.channels",
    "forebay.resume forebay.service_config",
    "forebay.credentials",
    "forebay.routes forebay.rpc_errors forebay.compute forebay.checks",
    "forebay.deadline forebay.errors forebay.metadata forebay.extras forebay.loopback"
    " forebay.secret_texts forebay.jitter forebay.timers",
    "forebay.v1",
)
ROW_OF = {name: row for row, names in enumerate(LAYERS) for name in names.split()}


def modules() -> dict[str, Path]:
    """Our modules by name, without generated ones and templates."""
    found = {}
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            if "_pb2" not in path.name and "template" not in path.parts:
                name = ".".join(path.relative_to(ROOT / source).with_suffix("").parts)
                found[name.removesuffix(".__init__")] = path
    return found


MODULES = {name: path for name, path in modules().items() if name.startswith("forebay")}


def imports(name: str) -> Iterator[str]:
    """The modules of ours that the module imports, at any place in it."""
    for node in ast.walk(syntax_tree(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    yield inner
                elif node.module in MODULES or node.module in ROW_OF:
                    yield node.module


def row_of(module: str) -> int:
    """The line of the module or, if it has none, that of its folder."""
    while module not in ROW_OF:
        module, dot, _ = module.rpartition(".")
        assert dot, f"{module} has no line in LAYERS"
    return ROW_OF[module]


def layer_of(module: str) -> str:
    """The name in LAYERS that covers the module."""
    while module not in ROW_OF:
        module = module.rpartition(".")[0]
    return module


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_from_its_own_folder_and_from_those_below(name: str) -> None:
    upwards = [
        imported
        for imported in imports(name)
        if layer_of(imported) != layer_of(name) and row_of(imported) <= row_of(name)
    ]
    assert not upwards, f"{name} imports {upwards}, which LAYERS has above or beside it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {other for other in imports(name) if other != name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_line_names_something_that_exists() -> None:
    assert {name for name in ROW_OF if name not in MODULES and name != "forebay.v1"} == set()
