"""TLS of real gateways: commands, clients, certificates of callers, files at start."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

import forebay
from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.certificates import EXPIRED, SERVER, Authority, Issued, TlsFiles
from tests.commands import Ran, run
from tests.conftest import Up
from tests.e2e.conftest import MutualTls
from tests.harness import environment, forebay_gateway

pytestmark = pytest.mark.variant

TOLD_WITHIN_S = 15.0
"""It takes 1.5 s at most, and the command's start is subtracted. gRPC alone would try for 20 s."""
COMMANDS = {
    "call": ["Add", "x=1", "y=2"],
    "describe": ["Add"],
    "ps": ["--all"],
    "queues": [],
    "workers": [],
    "errors": [],
    "whoami": [],
    "top": ["--once"],
    "routes": [],
    "doctor": [],
    "wait": ["no-such-call"],
    "cancel": ["no-such-call"],
    "logs": ["no-such-call"],
}
CALLING_NOTHING = {"protos", "gateway", "up", "new", "import", "keys", "acl"}


@pytest.fixture
def authority(mutual: MutualTls) -> Authority:
    return mutual.authority


@pytest.fixture
def client(mutual: MutualTls) -> Issued:
    return mutual.client


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> Issued:
    return authority.issue(f"server-{tmp_path.name}", "127.0.0.1")


def of_ca(authority: Authority) -> list[str]:
    """The option for a gateway with this CA."""
    return ["--ca", str(authority.ca)]


def forebay_command(
    command: str, target: str, *arguments: str, env: dict[str, str] | None = None
) -> Ran:
    whole = (command, "--target", target, *arguments, *COMMANDS[command])
    return run("forebay", *whole, env=env or environment())


def test_every_command_that_calls_a_gateway_is_tried() -> None:
    installed = {command.name for command in entry_points(group="forebay.commands")}
    assert installed == COMMANDS.keys() | CALLING_NOTHING


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_calls_a_gateway_that_requires_certificates(
    up: Up, mutual: MutualTls, authority: Authority, client: Issued, command: str
) -> None:
    ran = forebay_command(command, mutual.address, *mutual.options, env=up.env)
    if "no-such-call" in COMMANDS[command]:
        assert "no-such-call" in ran.err
        assert "UNAVAILABLE" not in ran.err
    else:
        ran.succeeded()


def test_variables_and_settings_serve_as_options(
    mutual: MutualTls, authority: Authority, client: Issued, tmp_path: Path
) -> None:
    env = environment(FOREBAY_ADDRESS=mutual.address, **mutual.variables)
    add = ("forebay", "call", "Add", "x=1", "y=2")
    assert run(*add, env=env, cwd=tmp_path).succeeded().messages == [{"sum": 3.0}]
    (tmp_path / "forebay.toml").write_text(
        f'[client]\ntarget = "{mutual.address}"\nca = "{authority.ca}"\n'
        f'cert = "{client.certificate}"\nkey = "{client.key}"\n'
    )
    assert run(*add, env=environment(), cwd=tmp_path).succeeded().messages == [{"sum": 3.0}]


def test_the_python_client_calls_it(
    mutual: MutualTls, authority: Authority, client: Issued
) -> None:
    credentials = grpc.ssl_channel_credentials(
        authority.ca.read_bytes(), client.key.read_bytes(), client.certificate.read_bytes()
    )
    with forebay.connect(
        mutual.address, credentials=credentials, token=lambda: "fresh"
    ) as connected:
        assert connected.add(1, 2) == 3.0
        assert connected.factorial(20, call_id=None) == 2432902008176640000


# What is wrong with a connection


@contextmanager
def tls_server(issued: Issued) -> Iterator[str]:
    """A port with TLS that shows this certificate, whatever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(100)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@cache
def start_s(command: str) -> float:
    """How long the command takes to start."""
    began = time.monotonic()
    run("forebay", command, "--help", env=environment())
    return time.monotonic() - began


def problem_of(command: str, target: str, *given: str) -> str:
    """The command's first line of error, which it must have soon."""
    usual_s = start_s(command)
    began = time.monotonic()
    ran = forebay_command(command, target, *given)
    taken_s = time.monotonic() - began
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert taken_s - usual_s < TOLD_WITHIN_S
    return ran.err.splitlines()[0]


def test_a_gateway_whose_ca_is_unknown(mutual: MutualTls, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    problem = problem_of("ps", mutual.address, "--ca", str(other.ca))
    assert problem.startswith(
        f"Error: UNAVAILABLE: no gateway answers at {mutual.address}: "
        "its certificate can't be verified: "
    )
    assert problem.endswith("; give its CA with --ca")


def test_a_gateway_in_plain_text(up: Up, authority: Authority) -> None:
    problem = problem_of("queues", up.address, *of_ca(authority))
    assert problem.endswith(f"{up.address}: it does not speak TLS; give --insecure for plain text")


def test_a_gateway_with_tls_called_in_plain_text(mutual: MutualTls) -> None:
    problem = problem_of("ps", mutual.address)
    assert problem.endswith(f"{mutual.address}: it speaks TLS; give its CA with --ca")
    assert problem == problem_of("ps", mutual.address, "--insecure")


def test_an_expired_certificate(authority: Authority) -> None:
    with tls_server(authority.issue("expired", "127.0.0.1", valid=EXPIRED)) as address:
        problem = problem_of("ps", address, *of_ca(authority))
    assert problem.endswith("its certificate can't be verified: certificate has expired")


@pytest.mark.variant
def test_a_certificate_of_another_host(authority: Authority) -> None:
    with tls_server(authority.issue("elsewhere", "gateway.example")) as address:
        problem = problem_of("ps", address, *of_ca(authority))
    assert "certificate is not valid for '127.0.0.1'" in problem


def test_no_client_certificate(mutual: MutualTls, authority: Authority) -> None:
    problem = problem_of("ps", mutual.address, *of_ca(authority))
    assert problem.endswith("it may require a client certificate, by --cert and --key")


@pytest.mark.variant
def test_a_client_certificate_that_is_not_accepted(mutual: MutualTls, authority: Authority) -> None:
    wrong = authority.issue("wrong_use", usage=[SERVER])
    problem = problem_of(
        "ps",
        mutual.address,
        *of_ca(authority),
        "--cert",
        str(wrong.certificate),
        "--key",
        str(wrong.key),
    )
    assert problem.endswith("it may not accept the client certificate")


def test_files_that_cannot_be_read(mutual: MutualTls, authority: Authority, tmp_path: Path) -> None:
    absent, junk = tmp_path / "absent", tmp_path / "junk"
    junk.write_text("junk")
    given = of_ca(authority)
    problem = problem_of("ps", mutual.address, *given, "--token-file", str(absent))
    assert problem == f"Error: --token-file {absent}: No such file or directory"
    problem = problem_of("ps", mutual.address, "--ca", str(absent))
    assert problem == f"Error: --ca {absent}: No such file or directory"
    problem = problem_of("ps", mutual.address, "--ca", str(junk))
    assert problem.endswith(f"--ca {junk}: expected certificates in PEM")


def test_doctor_tells_of_the_connection(
    up: Up, mutual: MutualTls, authority: Authority, client: Issued
) -> None:
    good = forebay_command("doctor", mutual.address, *mutual.options, env=up.env).succeeded()
    assert f"certificate: {mutual.address} shows it, expires in 23 hours" in good.out
    bad = forebay_command("doctor", mutual.address, env=up.env)
    assert bad.code == 1
    assert f"gateway: {mutual.address} does not answer: it speaks TLS" in bad.out


# Who calls

SHOP = "spiffe://prod.example/ns/acme/sa/shop"
AUTH = {
    "FOREBAY_AUTH__SPIFFE": json.dumps(
        [
            {"pattern": "spiffe://prod.example/ns/{tenant}/sa/{subject}", "roles": ["caller"]},
            {"pattern": "spiffe://prod.example/guest/{tenant}/{subject}", "roles": ["guest"]},
        ]
    ),
    "FOREBAY_ROLES": json.dumps(
        {"caller": ["forebay.compute.v1.ComputeService.*"], "guest": ["forebay.calls.read"]}
    ),
}


def outcome(address: str, authority: Authority, client: Issued | None) -> grpc.StatusCode:
    """The status of an Add over a new connection."""
    files = (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), *files)
    own = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(address, credentials, own) as channel:
        future: Any = ComputeServiceStub(channel).Add.future(AddRequest(x=1, y=2), timeout=30)
        code: grpc.StatusCode = future.code()
        return code


def web_status(address: str, authority: Authority, client: Issued | None) -> int | None:
    """The HTTP status of the same call over the web front; None if there is no connection."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    connection = http.client.HTTPSConnection(address, timeout=30, context=context)
    path, json_type = "/forebay.compute.v1.ComputeService/Add", {"content-type": "application/json"}
    try:
        connection.request("POST", path, '{"x": 1, "y": 2}', json_type)
        return connection.getresponse().status
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return None
    finally:
        connection.close()


def test_callers_are_those_of_their_certificates(
    up: Up, tmp_path: Path, authority: Authority, server: Issued
) -> None:
    issue, foreign = authority.issue, Authority(tmp_path)
    dns = x509.DNSName(SHOP)
    lookalikes = [
        issue("none"),
        issue("dns", dns),
        issue("name", common_name=SHOP),
        issue("two", SHOP, "spiffe://prod.example/ns/other/sa/shop"),
        issue("zero", x509.UniformResourceIdentifier(f"{SHOP}\0.evil")),
        issue("elsewhere", "spiffe://other.example/ns/acme/sa/shop"),
    ]
    refused = [
        None,
        issue("expired", SHOP, valid=EXPIRED),
        issue("server_only", SHOP, usage=[SERVER]),
        foreign.issue("foreign", SHOP),
    ]
    files = TlsFiles(tmp_path, server, authority.ca)
    env = {**up.env, **files.variables(), **AUTH}
    with forebay_gateway("--web-listen", "127.0.0.1:0", env=env) as (process, address):
        web = process.wait_for(r"serves browsers on https://(\S+)")[1]
        shop = issue("shop", SHOP)
        assert outcome(address, authority, shop) is grpc.StatusCode.OK
        assert web_status(web, authority, shop) == 200
        for one in lookalikes:
            assert outcome(address, authority, one) is grpc.StatusCode.UNAUTHENTICATED
            assert web_status(web, authority, one) == 401
        for other in refused:
            assert outcome(address, authority, other) is grpc.StatusCode.UNAVAILABLE
            assert web_status(web, authority, other) is None
        guest = issue("guest", "spiffe://prod.example/guest/acme/visitor")
        assert outcome(address, authority, guest) is grpc.StatusCode.PERMISSION_DENIED
        assert web_status(web, authority, guest) == 403


# At start


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_gateway_with_files_that_cannot_be_used_does_not_start(
    up: Up, tmp_path: Path, authority: Authority, server: Issued, processes: str
) -> None:
    files = TlsFiles(tmp_path, server)
    shutil.copy(authority.issue("other").key, files.key)
    env = {**up.env, **files.variables()}
    command = ("forebay", "gateway", "--listen", "127.0.0.1:0", "--processes", processes)
    ran = run(*command, env=env)
    assert ran.code == 1
    assert f"{files.key}: the key is not that of the first certificate" in ran.err
    assert "Traceback" not in ran.err
