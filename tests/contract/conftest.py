"""One fixture of backends for whole systems, one of servers for the ledger alone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from forebay_backends.embedded.server import EmbeddedServer
from forebay_backends.ledger import large_messages
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_gateway.cli.acl.redis_rules import ledger_rules, worker_broker_rules
from tests.contract.channel import Channel
from tests.contract.plain_site import CONFIGURATIONS, PlainSite, backends_of, plain_site
from tests.harness import redis_server, short_folder
from tests.rabbitmq import RabbitMQ

TEST_QUEUES = ("queue", "queue-list")
TEST_COMMANDS = (
    *("flushall", "keys", "hgetall", "hlen", "type", "ttl", "config|get", "config|set"),
    *("zincrby", "scan", "client|list", "replicaof", "flushdb", "dump", "client|kill"),
    *("script|flush", "memory|usage", "object|encoding", "lrange", "llen"),
    *("copy", "zscore", "incrby"),
)
"""What tests of the ledger use beside its operations."""

BACKENDS = (
    "embedded",
    pytest.param("redis", marks=pytest.mark.variant),
    "rabbitmq+redis",
    pytest.param("rabbitmq+embedded", marks=pytest.mark.variant),
)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The session's Redis server; a database's number goes at the end."""
    with redis_server() as url:
        yield url.removesuffix("0")


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings of a broker and a ledger; each test runs on every pair."""
    *broker, ledger = str(request.param).split("+")
    variables: dict[str, str] = {}
    if broker:
        node: RabbitMQ = request.getfixturevalue("rabbitmq")
        variables["FOREBAY_BROKER_URL"] = node.url(ledger)
    if ledger == "redis":
        database = 2 if broker else 0
        variables["FOREBAY_LEDGER_URL"] = f"{request.getfixturevalue('redis_url')}{database}"
        yield variables
        return
    with embedded_server() as data_dir:
        yield variables | {"FOREBAY_DATA_DIR": data_dir}


@pytest.fixture(scope="session")
def deserted(backend: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same pairs of servers, without workers."""
    variables = dict(backend)
    if "FOREBAY_BROKER_URL" in variables:
        variables["FOREBAY_BROKER_URL"] += "-deserted"
    if "FOREBAY_LEDGER_URL" in variables:
        url, _, database = variables["FOREBAY_LEDGER_URL"].rpartition("/")
        yield variables | {"FOREBAY_LEDGER_URL": f"{url}/{int(database) + 1}"}
        return
    with embedded_server() as data_dir:
        yield variables | {"FOREBAY_DATA_DIR": data_dir}


@pytest.fixture(scope="session", params=CONFIGURATIONS)
def plain(request: pytest.FixtureRequest) -> Iterator[PlainSite]:
    """A Celery application that does not use Forebay, behind a gateway."""
    with plain_site(backends_of(request.param, request)) as site:
        yield site


@pytest.fixture(
    scope="session",
    params=(
        "embedded",
        pytest.param("redis", marks=pytest.mark.variant),
        pytest.param("least rights", marks=pytest.mark.variant),
    ),
)
def ledger_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of each kind that a ledger can use, without broker and processes."""
    if request.param != "embedded":
        with redis_server() as url:
            yield url if request.param == "redis" else with_least_rights(url)
        return
    with short_folder() as folder, EmbeddedServer(folder / "data") as server:
        yield server.url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[BlockingLedger]:
    """A ledger that is empty at first."""
    blocking = BlockingLedger(ledger_url)
    blocking.redis.flushall()
    yield blocking
    blocking.close()


@pytest.fixture(params=(large_messages.LARGE_ABOVE_BYTES, 0), ids=("small", "large"))
def message_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test twice: the script stores its messages, or XADD does after the script."""
    monkeypatch.setattr(large_messages, "LARGE_ABOVE_BYTES", request.param)


@pytest.fixture
async def aio_ledger(ledger: BlockingLedger, ledger_url: str) -> AsyncIterator[Ledger]:
    """The same ledger, for asyncio."""
    aio = Ledger(ledger_url)
    yield aio
    await aio.close()


@pytest.fixture
def channel(ledger: BlockingLedger) -> Iterator[Channel]:
    """A subscribed gateway channel."""
    with Channel(ledger, "gateway") as channel:
        yield channel


@pytest.fixture
def control(ledger: BlockingLedger) -> Iterator[Channel]:
    """A subscribed control channel of a worker process."""
    with Channel(ledger, "control") as channel:
        yield channel


def with_least_rights(url: str) -> str:
    """The server's URL for a user with the rights that `forebay acl` gives a worker.

    Tests look at the server themselves, by commands that neither gateways nor workers use.
    """
    rules = ledger_rules("") | worker_broker_rules("", TEST_QUEUES, 0, remote_control=False)
    tests = ("&*", "~another*", *(f"+{command}" for command in TEST_COMMANDS))
    with redis.Redis.from_url(url) as admin:
        admin.execute_command("ACL", "SETUSER", "w", "on", ">pw", *rules.words, *tests)
    return url.replace("://", "://w:pw@")


@contextlib.contextmanager
def embedded_server() -> Iterator[str]:
    """An embedded server; its data folder."""
    with short_folder() as folder, EmbeddedServer(folder / "data"):
        yield str(folder / "data")
