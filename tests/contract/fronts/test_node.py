"""RPCs of grpc-js, which has an HTTP/2 of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands import run
from tests.contract.fronts.site import Site
from tests.harness import environment
from tests.npm import installed

SOURCE = Path(__file__).with_name("grpc_js")
NOT_FOUND, DEADLINE_EXCEEDED = 5, 4


def test_grpc_js_makes_calls_of_all_kinds(site: Site, tmp_path: Path) -> None:
    client = installed(SOURCE, tmp_path / "client")
    command = ("node", "client.mjs", site.address)
    printed = run(*command, env=environment(), cwd=client).succeeded()
    said = {line["step"]: line["value"] for line in map(json.loads, printed.out.splitlines())}
    assert said == {
        "echo": 3_000_000,
        "sum": "10 1000000",
        "count": [100_000] * 5,
        "chat": [1, 20, 300],
        "headers": [["text", "a"], ["text", "b"], ["raw-bin", "00ff"]],
        "abort": [NOT_FOUND, "kein Eintrag: ü 100%", ["so"]],
        "deadline": DEADLINE_EXCEEDED,
        "gzip": 100_000,
    }
    assert [site.event(), site.event()] == ["began", "cancelled"]
