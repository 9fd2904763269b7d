"""Marked secrets go into a system by every door, and are looked for wherever it writes."""

from __future__ import annotations

import contextlib
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
import redis
from google.longrunning import operations_proto_pb2
from google.protobuf.descriptor import FileDescriptor

from forebay.v1 import calls_pb2
from tests.canaries import Canaries
from tests.certificates import Authority
from tests.commands import run
from tests.e2e import secret_doors as doors
from tests.e2e import secret_http_doors as http
from tests.e2e.secret_commands import run_commands
from tests.echo.running import ROOT
from tests.harness import (
    Process,
    answers,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    process,
    redis_binary,
    short_folder,
)
from tests.identity_provider import (
    AUDIENCE,
    ISSUER,
    IdentityProvider,
    JwksServer,
    jwks_server,
    with_document,
)
from tests.otlp import Receiver, otlp_receiver
from tests.rabbitmq import RabbitMQ

pytestmark = pytest.mark.variant  # it takes half a minute

PLACES = {
    "gateway's log": "a message is refused",
    "worker's log": "canary-0",
    "audit log": "UNAUTHENTICATED",
    "spans": "canary-0",
    "metrics": "tests.echo.v1.EchoService",
    "statuses": "HANDLER_FAILED",
    "answers": "canary-0",
    "commands": "canary-0",
    "ledger and broker": "canary-0",
    "command lines": " 127.0.0.1:",
}
"""Where secrets are looked for, and a text that is there for certain, or the search is in vain."""

NOWHERE: set[str] = set()
MAY_BE_IN = {
    "a password": NOWHERE,
    "a signing key": NOWHERE,
    "a private key": NOWHERE,
    "an API key": NOWHERE,
    "a token": NOWHERE,
    "claims of a token": NOWHERE,
    "a URL's query": NOWHERE,
    "other metadata": NOWHERE,
    "the route's metadata": {"ledger and broker"},
    "request": {"ledger and broker"},
    "response": {"ledger and broker", "answers", "commands"},
    "a handler's status": {"ledger and broker", "statuses", "answers", "commands"},
    "a handler's exception": {"worker's log"},
}
"""The places where a secret has to be, for what it is for."""

RAISED = "a secret that must stay in the log"
"""What the handlers of EchoService raise."""


@dataclass
class Session:
    """What was written where, in a session in which all doors were used."""

    canaries: Canaries
    places: dict[str, str]


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def system(request: pytest.FixtureRequest) -> Iterator[Session]:
    canaries = Canaries()
    canaries.add("a handler's exception", RAISED)
    with short_folder() as folder, otlp_receiver() as receiver:
        stack = Stack(canaries, folder, receiver)
        if request.param == "rabbitmq":
            node: RabbitMQ = request.getfixturevalue("rabbitmq")
            password = canaries.new("a password")
            node.control("add_user", "canary", password)
            node.control("set_permissions", "-p", "secrets", "canary", ".*", ".*", ".*")
            url = node.url("secrets").replace("guest:guest", f"canary:{password}")
            stack.variant = {
                "FOREBAY_BROKER_URL": url,
                "FOREBAY_LOG_FORMAT": "text",
                "FOREBAY_PROCESSES": "2",
                "PYTHONHASHSEED": "0",  # so that nothing is forked, and has its own command line
            }
            stack.pool = "prefork"
        yield Session(canaries, stack.run())


@pytest.mark.parametrize("place", PLACES)
def test_something_is_found_at_each_place(system: Session, place: str) -> None:
    assert PLACES[place] in system.places[place]


@pytest.mark.parametrize("secret", MAY_BE_IN)
def test_a_secret_is_where_it_has_to_be_and_nowhere_else(system: Session, secret: str) -> None:
    found = {name for name, text in system.places.items() if system.canaries.is_in(secret, text)}
    assert found == MAY_BE_IN[secret]


class Stack:
    """A gateway and a worker with all of identity, traces and the log level DEBUG."""

    def __init__(self, canaries: Canaries, folder: Path, receiver: Receiver) -> None:
        self.variant: dict[str, str] = {}
        """Variables that take the place of others."""
        self.pool = "threads"
        self._canaries = canaries
        self._folder = folder
        self._receiver = receiver
        self._provider = IdentityProvider()
        addresses = (f"127.0.0.1:{free_port()}" for _ in range(4))
        self._admin, self._web, self._worker_metrics, self._redis = addresses
        self._url = f"redis://:{canaries.new('a password')}@{self._redis}/0"

    def run(self) -> dict[str, str]:
        """Uses all doors; what was written, by its place."""
        with ExitStack() as stack:
            server = stack.enter_context(self._redis_server())
            sent = stack.enter_context(doors.monitored(self._url))
            issuer = stack.enter_context(jwks_server())
            env = self._environment(issuer)
            token = self._new_key(env)
            gateway, address = stack.enter_context(forebay_gateway(env=env, cwd=ROOT))
            worker = stack.enter_context(self._worker(env))
            credentials = grpc.ssl_channel_credentials((self._folder / "ca.pem").read_bytes())
            channel = stack.enter_context(grpc.secure_channel(address, credentials))
            env["FOREBAY_ADDRESS"] = address
            system = doors.System(
                *(self._canaries, self._folder, env, address, self._admin, channel),
                *(self._provider, token, self._url),
            )
            self._use(system, issuer)
            own = (calls_pb2, operations_proto_pb2)
            assert system.asked >= _methods(*(module.DESCRIPTOR for module in own))
            command_lines = _command_lines()
            ports = (self._admin, self._worker_metrics)
            metrics = "".join(http.fetched(system, f"http://{port}/metrics") for port in ports)
            server.stop()
            for one in (gateway, worker):
                one.wait_for("Error 111|Connection refused|refused")
            assert gateway.stop() == 0
            worker.stop()
            return {
                "gateway's log": gateway.output,
                "worker's log": worker.output,
                "audit log": (self._folder / "audit.log").read_text(),
                "spans": self._receiver.text,
                "metrics": metrics,
                "statuses": "\n".join(system.statuses),
                "answers": "\n".join(system.answers),
                "commands": "\n".join(system.printed),
                "ledger and broker": "\n".join(sent),
                "command lines": command_lines,
            }

    def _use(self, system: doors.System, issuer: JwksServer) -> None:
        doors.make_calls(system)
        doors.send_what_is_refused(system)
        issuer.answer = with_document(self._canaries.new("a token").encode(), 503)
        doors.show_bad_identities(system)
        doors.ask_everything(system)
        http.browse(system)
        http.call_by_http(system, self._web)
        doors.forge(system)
        run_commands(system)
        doors.wait_for_calls(system)

    def _environment(self, issuer: JwksServer) -> dict[str, str]:
        folder, canaries = self._folder, self._canaries
        authority = Authority(folder)
        shown = authority.issue("gateway", "127.0.0.1")
        signing, jwks = folder / "signing.toml", folder / "jwks.json"
        secret = canaries.new("a signing key") * 2
        signing.write_text(f'[keys]\nfirst = "{b64encode(secret.encode()).decode()}"\n')
        signing.chmod(0o600)
        canaries.add("a private key", shown.key.read_text())
        found = json.loads(self._provider.jwks())
        private = {**found["keys"][0], "kid": "private", "d": canaries.new("a private key")}
        jwks.write_text(json.dumps({"keys": [*found["keys"], private]}))
        issuer.answer = with_document(self._provider.jwks())
        known = {"audiences": [AUDIENCE], "algorithms": ["RS256"]}
        query = canaries.new("a URL's query")
        auth = {
            "keys": [{"file": str(folder / "keys.toml")}],
            "jwt": [
                {**known, "issuer": ISSUER, "jwks_file": str(jwks)},
                {
                    **known,
                    "issuer": doors.FETCHED,
                    "jwks_url": f"{issuer.url}?key={query}",
                },
            ],
        }
        (folder / "token").touch()
        env = environment(
            FOREBAY_LEDGER_URL=self._url,
            FOREBAY_BROKER_URL=self._url,
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]',
            FOREBAY_LOG_FORMAT="json",
            FOREBAY_LOG_LEVEL="DEBUG",
            FOREBAY_MAX_MESSAGE_BYTES="100000",
            FOREBAY_DRAIN_S="0.2",
            FOREBAY_ADMIN_LISTEN=self._admin,
            FOREBAY_WEB_LISTEN=self._web,
            FOREBAY_AUDIT_FILE=str(folder / "audit.log"),
            FOREBAY_AUTH=json.dumps(auth),
            FOREBAY_ROLES='{"all": ["*"], "caller": ["tests.echo.v1.EchoService.*"]}',
            FOREBAY_TENANTS='{"acme": {"in_flight": 100}}',
            FOREBAY_SIGNING_KEYS=str(signing),
            FOREBAY_TLS__CERTIFICATE=str(shown.certificate),
            FOREBAY_TLS__KEY=str(shown.key),
            FOREBAY_CLIENT__CA=str(authority.ca),
            FOREBAY_CLIENT__TOKEN_FILE=str(folder / "token"),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{self._receiver.grpc_port}",
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization={canaries.new('a token')}",
        )
        return {**env, **self.variant}

    def _new_key(self, env: dict[str, str]) -> str:
        made = run("forebay", "keys", "new", "--tenant", "acme", "--role", "all", env=env)
        token = made.succeeded().out.strip()
        self._canaries.add("an API key", token, token.split("_", 2)[2])
        (self._folder / "token").write_text(token)
        return token

    @contextlib.contextmanager
    def _redis_server(self) -> Iterator[Process]:
        port = self._redis.rpartition(":")[2]
        password = self._url.partition("@")[0].rpartition(":")[2]
        config = self._folder / "redis.conf"
        config.write_text(f'bind 127.0.0.1\nport {port}\nsave ""\nrequirepass {password}\n')
        command = (redis_binary(), str(config))
        with process(*command, env=environment(), cwd=self._folder) as server:
            with redis.Redis.from_url(self._url) as client:
                eventually(lambda: answers(client), "the Redis server answers")
            yield server

    @contextlib.contextmanager
    def _worker(self, env: dict[str, str]) -> Iterator[Process]:
        with process(
            *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "DEBUG"],
            *["-n", f"test-{free_port()}@%h", "--pool", self.pool, "--concurrency", "2"],
            *["--without-mingle", "--without-gossip", "--metrics", self._worker_metrics],
            env=env,
            cwd=ROOT,
        ) as worker:
            worker.wait_for(r" ready\.")
            yield worker


def _methods(*files: FileDescriptor) -> set[str]:
    """The methods of the gateway's own services."""
    services = [service for file in files for service in file.services_by_name.values()]
    return {method.name for service in services for method in service.methods}


def _command_lines() -> str:
    """Of this test's processes, as everyone on the host sees them."""
    lines = []
    for one in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            lines.append(" ".join(one.cmdline()))
    return "\n".join(lines)
