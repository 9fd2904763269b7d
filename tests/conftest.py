"""Fixtures that start real processes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests import forking, identity_on
from tests.harness import Process, environment, forebay_up, short_folder
from tests.installed import Wheel
from tests.rabbitmq import RabbitMQ, rabbitmq_node, require_rabbitmq

_RABBITMQ = "one node, whatever ledger it serves with"
_LONGEST_FIRST = ("faults", "e2e", "browser", "contract", "unit")
_SHARED_BY_ALL = ("up", "site", "reports", "backend", "plain", "wheel", "page_stack")
_SHARED_IN_MODULE = (
    *("system", "fleet", "pair", "echo", "small", "ledger", "steps"),
    *("temporary", "project", "shop", "tutorial", "gateway"),
    *("polled", "foreign", "several"),
)

identity_on.enable()
forking.enable()


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share something that is started run in one process, so that it is started once.

    (`--dist loadgroup`.) What takes long comes first: groups across modules, then folder by folder,
    large groups before small ones. What is quick fills the gaps at the end.
    """
    groups = {item.nodeid: _shared(item) for item in items}
    sizes = Counter(groups.values())
    sizes[None] = 1

    def rank(item: pytest.Item) -> tuple[bool, int, int]:
        group = groups[item.nodeid]
        if group is not None and item.path.stem not in group:
            return False, 0, -sizes[group]
        return True, _LONGEST_FIRST.index(_level(item)), -sizes[group]

    for item in items:
        group = groups[item.nodeid]
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=rank)


def _level(item: pytest.Item) -> str:
    """The folder of `tests/` that the test is in."""
    return item.path.relative_to(Path(__file__).parent).parts[0]


def _shared(item: Any) -> str | None:
    """The name of the resource that the test shares; None if it shares none, or a cheap one."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    brokers = [value for value in params.values() if isinstance(value, str)]
    if _level(item) == "unit":
        return None
    if "rabbitmq" in item.fixturenames or any(re.search("rabbitmq|^amqp$", b) for b in brokers):
        return _RABBITMQ
    for name in (*_SHARED_BY_ALL, *_SHARED_IN_MODULE):
        if name in item.fixturenames:
            of_module = item.path.stem if name in _SHARED_IN_MODULE else ""
            return f"{of_module} {name} {params.get(name, '')}"
    return None


@dataclass(frozen=True)
class Up:
    """A running `forebay up`: its address, its environment, its process, its URL for browsers."""

    address: str
    env: dict[str, str]
    process: Process
    web: str


@pytest.fixture(scope="session")
def up() -> Iterator[Up]:
    """A gateway and three workers on an embedded backend, once a session."""
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with forebay_up(env=env) as (process, address):
            web = process.wait_for(r"serves browsers on (\S+)")[1]
            yield Up(address, env, process, web)


@pytest.fixture
def channel(up: Up) -> Iterator[grpc.Channel]:
    """A channel to `up`."""
    with grpc.insecure_channel(up.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> ComputeServiceStub:
    """The generated stub, on `up`."""
    return ComputeServiceStub(channel)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel, and the environments that it is installed in."""
    return Wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """The session's RabbitMQ node."""
    require_rabbitmq()
    with rabbitmq_node() as node:
        yield node
