"""Certificates and CAs that change under load, in a gateway of two processes, on each front."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

import forebay
from tests.certificates import Authority, Issued, TlsFiles
from tests.commands import run
from tests.conftest import Up
from tests.e2e.conftest import MutualTls
from tests.harness import Process, environment, eventually, forebay_gateway, free_port
from tests.scraping import metric

pytestmark = pytest.mark.variant

Add = Callable[[], float]
Calling = Callable[[str, Authority, Issued], AbstractContextManager[Add]]
"""Calls an address over one connection of its own, with a caller's certificate."""


def context_of(authority: Authority, client: Issued) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2", "http/1.1"])  # as browsers ask
    return context


@contextmanager
def calling_by_grpc(address: str, authority: Authority, client: Issued) -> Iterator[Add]:
    credentials = grpc.ssl_channel_credentials(
        authority.ca.read_bytes(), client.key.read_bytes(), client.certificate.read_bytes()
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    with forebay.channel(address, credentials=credentials, options=options, resume=False) as one:
        yield lambda: forebay.Client(one).add(1, 2)


@contextmanager
def calling_by_http(address: str, authority: Authority, client: Issued) -> Iterator[Add]:
    host, _, port = address.rpartition(":")
    context = context_of(authority, client)
    connection = http.client.HTTPSConnection(host, int(port), timeout=30, context=context)
    kind = {"content-type": "application/json"}

    def add() -> float:
        path = "/forebay.compute.v1.ComputeService/Add"
        connection.request("POST", path, b'{"x": 1, "y": 2}', kind)
        return float(json.load(connection.getresponse())["sum"])

    with closing(connection):
        yield add


@dataclass(frozen=True)
class Site:
    """A gateway, its files, and the front that is called."""

    process: Process
    admin: str
    main: str
    """The address of gRPC, which commands need."""
    front: str
    calling: Calling
    files: TlsFiles
    authority: Authority
    client: Issued

    def add(self, client: Issued | None = None) -> float:
        """A call over a new connection."""
        with self.calling(self.front, self.authority, client or self.client) as add:
            return add()

    def shown(self) -> str:
        """The common name of the certificate that a new connection gets."""
        host, _, port = self.front.rpartition(":")
        context = context_of(self.authority, self.client)
        with (
            socket.create_connection((host, int(port)), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            found: Any = secure.getpeercert()
        return str(found["subject"][0][0][1])

    def all_show(self, name: str) -> bool:
        """Whether many new connections, which both processes accept, get this certificate."""
        return all(self.shown() == name for _ in range(16))

    def show(self, name: str) -> None:
        """Gives the gateway a certificate of this name; waits until both processes show it."""
        self.files.show(self.authority.issue(name, "127.0.0.1"))
        eventually(lambda: self.all_show(name), f"both processes show {name}")

    def metric(self, name: str) -> list[float]:
        return metric(self.admin, name)

    def report_problems(self, count: int) -> None:
        """Waits until so many of the two processes say that their files are bad."""
        eventually(
            lambda: sum(self.metric("forebay_identity_problems")) == count,
            f"{count} processes have a problem with their files",
        )

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """Calls over new connections, and over one that stays; fails if a call fails."""
        failures: list[BaseException] = []
        end = threading.Event()

        def call(add: Add) -> None:
            while not end.is_set():
                try:
                    assert add() == 3.0
                except BaseException as error:
                    failures.append(error)

        with ExitStack() as stack:
            kept = stack.enter_context(self.calling(self.front, self.authority, self.client))
            threads = [threading.Thread(target=call, args=(add,)) for add in (self.add, kept)]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                end.set()
                for thread in threads:
                    thread.join(60)
        assert not failures, failures[0]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another CA of callers."""
    return Authority(tmp_path_factory.mktemp("foreign"), "foreign")


@pytest.fixture(scope="module", params=["grpc", "web"])
def running(
    request: pytest.FixtureRequest,
    up: Up,
    mutual: MutualTls,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The gateway, once a module."""
    folder, authority = tmp_path_factory.mktemp("reloaded"), mutual.authority
    files = TlsFiles(folder, authority.issue("at_start", "127.0.0.1"), authority.ca)
    admin, web = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    variables = {"FOREBAY_TLS__REFRESH_S": "0.2", "FOREBAY_ADMIN_LISTEN": admin}
    env = {**up.env, **files.variables(), **variables}
    with forebay_gateway("--processes", "2", "--web-listen", web, env=env) as (process, main):
        calling: Calling = calling_by_grpc if request.param == "grpc" else calling_by_http
        front = main if request.param == "grpc" else web
        yield Site(process, admin, main, front, calling, files, authority, mutual.client)


@pytest.fixture
def site(running: Site, foreign: Authority) -> Site:
    """It takes callers of both CAs, and has a good certificate."""
    running.files.trust(running.authority.ca, foreign.ca)
    running.show(f"certificate-{uuid.uuid4()}")
    running.report_problems(0)
    return running


def test_certificates_are_rotated_without_a_failed_call(site: Site) -> None:
    with site.under_load():
        for name in ("second", "third"):
            site.show(name)


def test_half_written_files_leave_the_last_good_ones_in_force(
    site: Site, foreign: Authority
) -> None:
    files, other, shown = site.files, foreign.issue("other"), site.shown()
    assert files.client_ca is not None
    with site.under_load():
        for file in (files.certificate, files.key, files.client_ca):
            whole = file.read_text()
            file.write_text(whole[:100])
            site.report_problems(2)
            assert site.all_show(shown)
            assert site.add(other) == 3.0
            file.write_text(whole)
            site.report_problems(0)
        next_pair = site.authority.issue("second", "127.0.0.1")
        files.certificate.write_bytes(next_pair.certificate.read_bytes())
        site.report_problems(2)
        assert site.all_show(shown), "the new certificate has no key yet"
        files.key.write_bytes(next_pair.key.read_bytes())
        eventually(lambda: site.all_show("second"), "both processes show the new pair")
    left_s = site.metric("forebay_certificate_expiry_seconds")
    assert len(left_s) == 4
    assert all(23 * 3600 < seconds <= 24 * 3600 for seconds in left_s)


def test_the_log_and_doctor_tell_of_a_half_written_file(site: Site) -> None:
    certificate = site.files.certificate
    refused = "TLS of the gateway's port stays as it was: .*tls.crt.*: expected certificates in PEM"
    before = len(re.findall(refused, site.process.output))
    certificate.write_text(certificate.read_text()[:100])
    site.report_problems(2)
    assert len(re.findall(refused, site.process.output)) >= before + 2
    env = environment(FOREBAY_LISTEN=site.main, **site.files.variables())
    client = ("--cert", str(site.client.certificate), "--key", str(site.client.key))
    doctor = run("forebay", "doctor", "--ca", str(site.authority.ca), *client, env=env)
    assert f"problem tls: {certificate}" in doctor.out
    assert "expected certificates in PEM" in doctor.out


def test_callers_of_a_removed_ca_are_refused_by_every_process(
    site: Site, foreign: Authority
) -> None:
    other = foreign.issue("other")
    with site.under_load():
        assert site.add(other) == 3.0
        site.files.trust(site.authority.ca)
        time_limit = time.monotonic() + 60
        refused = 0
        while refused < 16:
            assert time.monotonic() < time_limit, "some connections are still accepted"
            try:
                site.add(other)
                refused = 0
            except (forebay.ForebayError, OSError):  # by gRPC, by HTTP
                refused += 1
