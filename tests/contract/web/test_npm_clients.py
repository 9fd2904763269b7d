"""RPCs of connect-node, and of connect-web's transports, which Node runs as browsers do."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.commands import run
from tests.contract.fronts.site import Site
from tests.contract.web.site import SERVICE
from tests.harness import environment
from tests.web_clients import descriptor_set, web_clients

__all__ = ("web_clients",)

pytestmark = pytest.mark.timeout(300)  # npm's installation is part of the first test

CANCELED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED = 1, 2, 3, 4, 5, 12
TRANSPORTS = 10
EXPECTED = {
    "echo": 5_000,
    "count": [3_000] * 5,
    "initial": ["1", "AP8s"],
    "headers": [["raw-bin", "00ff"], ["text", "a"]],
    "trailing": ["a b", "AQ"],
    "abort": [NOT_FOUND, "kein Eintrag: ü 100%", "so"],
    "details": [INVALID_ARGUMENT, ["google.rpc.ErrorInfo"]],
    "deadline": DEADLINE_EXCEEDED,
    "leave": CANCELED,
}


def test_connect_node_and_connect_web(web: Site, web_clients: Path, tmp_path: Path) -> None:
    file = tmp_path / "descriptors.binpb"
    file.write_bytes(descriptor_set(SERVICE.file))
    command = ["node", "calls.mjs", f"http://{web.address}", str(file)]
    printed = run(*command, env=environment(), cwd=web_clients).succeeded()
    said = {line.pop("name"): line for line in map(json.loads, printed.out.splitlines())}
    for name, steps in said.items():
        # connect-web itself refuses to send a stream of requests.
        assert steps.pop("sum") == (UNKNOWN if "connect-web" in name else UNIMPLEMENTED), name
        assert steps == EXPECTED, name
    assert len(said) == TRANSPORTS
    events = Counter(web.event() for _ in range(3 * len(said)))
    # The deadline and the closed stream each end a handler.
    assert events == {"began": len(said), "cancelled": 2 * len(said)}
