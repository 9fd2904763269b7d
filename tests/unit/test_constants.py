"""A constant that several modules need is defined in one of them."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.syntax import syntax_tree

ROOT = Path(__file__).parents[2]
SOURCES = ("clients/python", "backends", "gateway", "workers")

# Equal by chance: a change of one must not change the other.
OF_DIFFERENT_MEANING = {
    "INTERVAL_S",  # of reading key files, and of reports of a worker's children
    "LARGE_ABOVE_BYTES",  # of messages for the ledger, and of responses on their way to callers
    "LOG_INTERVAL_S",  # one for each kind of warning
    "MAX_COUNT",  # of batches that have begun, and of calls that were abandoned
    "MAX_NAMED",  # changed files, and workers
    "MODE",  # of the audit log, and of the file of API keys
    "RETRY_AFTER_S",  # what is asked of callers: by the ledger, and by a full or draining gateway
    "RETRY_FOR_S",  # a client's calls, and a gateway's or worker's operations of the ledger
    "RETRY_S",  # one for each operation
    "START_TIMEOUT_S",  # of the embedded server, and of gateways and workers in tests
    "THREADS",  # one for each pool
    "TIMEOUT_S",  # one for each request
    "WORDS",  # of the replies of different scripts
}


def test_no_constant_is_defined_twice() -> None:
    places = defaultdict(list)
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            if "_pb2" in path.name or "template" in path.parts:
                continue
            for node in syntax_tree(path.read_text()).body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    name = node.targets[0].id.lstrip("_")
                    value = ast.unparse(node.value)
                    if name.isupper() and not value.startswith(("TypeVar(", "ParamSpec(")):
                        places[name, value].append(str(path.relative_to(ROOT)))
    twice = {
        f"{name} = {value}": modules
        for (name, value), modules in places.items()
        if len(modules) > 1 and name not in OF_DIFFERENT_MEANING
    }
    assert twice == {}
