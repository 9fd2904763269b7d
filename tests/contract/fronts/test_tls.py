"""TLS: who is let in, whom handlers see, certificates and CAs that change, slow handshakes."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from hpack import Encoder

from forebay_backends.settings.identity_settings import SpiffeSettings, TlsSettings
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.spiffe import principal_of_certificate, spiffe_rules
from forebay_gateway.tls.server_tls import ServerTls
from tests.certificates import EXPIRED, NOT_YET_VALID, SERVER, Authority, Issued, TlsFiles
from tests.contract.fronts.site import KINDS, Site, path, serving
from tests.faults.raw_http2 import (
    PREFACE,
    RawConnection,
    message,
    request_frames,
    request_headers,
)
from tests.harness import eventually

_TIMEOUT_S = 20.0
SPIFFE_ID = "spiffe://prod.example/ns/acme/sa/shop"
PATTERN = "spiffe://prod.example/ns/{tenant}/sa/{subject}"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA of the same name, which nobody trusts."""
    return Authority(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="session")
def server(authority: Authority) -> Issued:
    return authority.issue("server", "127.0.0.1")


@pytest.fixture(scope="session")
def client(authority: Authority) -> Issued:
    return authority.issue("client", "client.example.org", SPIFFE_ID)


def tls_of(files: TlsFiles) -> ServerTls:
    return ServerTls(TlsSettings.model_validate(files.settings()))


@pytest.fixture(scope="module", params=KINDS)
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Issued
) -> Iterator[Site]:
    """A front whose callers need no certificate."""
    files = TlsFiles(tmp_path_factory.mktemp("secure"), server)
    with serving(request.param, tls=tls_of(files)) as site:
        yield site


@pytest.fixture(scope="module", params=KINDS)
def mutual(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server: Issued,
    authority: Authority,
) -> Iterator[Site]:
    """A front whose callers show certificates."""
    files = TlsFiles(tmp_path_factory.mktemp("mutual"), server, authority.ca)
    with serving(request.param, tls=tls_of(files)) as site:
        yield site


def secure_channel(
    address: str, authority: Authority, client: Issued | None = None
) -> grpc.Channel:
    """A channel with a connection of its own."""
    key = client.key.read_bytes() if client else None
    chain = client.certificate.read_bytes() if client else None
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, chain)
    own = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    return grpc.secure_channel(address, credentials, own)


def echo(site: Site, authority: Authority, client: Issued | None = None) -> None:
    """Calls over a new connection; raises `grpc.RpcError`."""
    with secure_channel(site.address, authority, client) as channel:
        assert channel.unary_unary(path("Echo"))(b"x", timeout=_TIMEOUT_S) == b"x"


def auth_context(site: Site, authority: Authority, client: Issued | None = None) -> dict[str, Any]:
    """The properties that a handler sees of a connection."""
    with secure_channel(site.address, authority, client) as channel:
        reply = channel.unary_unary(path("Headers"))(b"", timeout=_TIMEOUT_S)
    found: dict[str, Any] = json.loads(reply)["auth"]
    return found


def context_of(authority: Authority, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def assert_refused(site: Site, authority: Authority, client: Issued | None) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        echo(site, authority, client)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_calls_of_any_size(secure: Site, authority: Authority) -> None:
    with secure_channel(secure.address, authority) as channel:
        for size in (0, 100, 4 << 20):
            reply = channel.unary_unary(path("Echo"))(bytes(size), timeout=_TIMEOUT_S)
            assert reply == bytes(size)
    found = auth_context(secure, authority)
    assert found["transport_security_type"] == ["ssl"]
    assert "peer_spiffe_id" not in found


# Callers' certificates


def test_handlers_see_the_certificate(mutual: Site, authority: Authority, client: Issued) -> None:
    found = auth_context(mutual, authority, client)
    assert found["x509_common_name"] == ["client"]
    assert found["x509_subject_alternative_name"] == ["client.example.org", SPIFFE_ID]
    assert found["peer_spiffe_id"] == [SPIFFE_ID]
    assert found["x509_pem_cert"] == [client.certificate.read_text()]


def test_a_caller_without_a_good_certificate_is_refused_and_others_go_on(
    mutual: Site, authority: Authority, foreign: Authority, client: Issued
) -> None:
    assert_refused(mutual, authority, None)
    assert_refused(mutual, authority, foreign.issue("foreign", SPIFFE_ID))
    assert_refused(mutual, authority, authority.issue("expired", SPIFFE_ID, valid=EXPIRED))
    assert_refused(mutual, authority, authority.issue("young", SPIFFE_ID, valid=NOT_YET_VALID))
    assert_refused(mutual, authority, authority.issue("other_use", SPIFFE_ID, usage=[SERVER]))
    echo(mutual, authority, client)


NO_SPIFFE_IDS: dict[str, dict[str, Any]] = {
    "none": {"names": ()},
    "dns": {"names": (x509.DNSName(SPIFFE_ID),)},
    "email": {"names": (x509.RFC822Name(SPIFFE_ID),)},
    "common name": {"names": ("client.example.org",), "common_name": SPIFFE_ID},
    "two uris": {"names": (SPIFFE_ID, "spiffe://prod.example/ns/other/sa/shop")},
    "another uri beside it": {"names": (SPIFFE_ID, "https://prod.example/")},
    "no path": {"names": ("spiffe://prod.example",)},
    "an empty path": {"names": ("spiffe://prod.example/",)},
    "no workload": {"names": ("spiffe://prod.example//shop",)},
    "a long domain": {"names": (f"spiffe://{'d' * 256}/shop",)},
    "a long id": {"names": (f"spiffe://prod.example/{'p' * 2048}",)},
    "another scheme": {"names": ("https://prod.example/ns/acme/sa/shop",)},
    "a scheme in capitals": {"names": ("SPIFFE://prod.example/ns/acme/sa/shop",)},
}


@pytest.mark.parametrize("name", NO_SPIFFE_IDS)
def test_a_name_that_only_looks_like_a_spiffe_id_is_none(
    mutual: Site, authority: Authority, name: str
) -> None:
    how = dict(NO_SPIFFE_IDS[name])
    lookalike = authority.issue("lookalike", *how.pop("names"), **how)
    assert "peer_spiffe_id" not in auth_context(mutual, authority, lookalike)


def identified(site: Site, authority: Authority, client: Issued) -> Principal | None:
    """The principal by what the front says of the connection."""
    found = auth_context(site, authority, client)
    context = {key: [value.encode() for value in values] for key, values in found.items()}
    return principal_of_certificate(
        context, spiffe_rules([SpiffeSettings(pattern=PATTERN, roles=("caller",))])
    )


def test_callers_are_known_by_their_spiffe_ids(
    mutual: Site, authority: Authority, client: Issued
) -> None:
    principal = identified(mutual, authority, client)
    assert principal is not None
    assert (principal.tenant, principal.subject) == ("acme", "shop")


def test_an_id_with_a_zero_byte_is_not_the_one_before_it(
    mutual: Site, authority: Authority
) -> None:
    """Python's gRPC cuts properties off at zero bytes."""
    client = authority.issue("zero", x509.UniformResourceIdentifier(f"{SPIFFE_ID}\0.evil"))
    assert identified(mutual, authority, client) is None


def test_a_name_that_is_not_text_identifies_nobody_and_others_go_on(
    mutual: Site, authority: Authority, client: Issued
) -> None:
    """Asyncio refuses the connection; grpc-core lets it in without a SPIFFE ID."""
    uri = SPIFFE_ID.encode() + b"\xff"
    names = bytes((0x30, len(uri) + 2, 0x86, len(uri))) + uri  # a SEQUENCE of one URI, in DER
    nobody = authority.issue("nobody", raw_names=names)
    if mutual.kind == "native":
        assert_refused(mutual, authority, nobody)
    else:
        assert identified(mutual, authority, nobody) is None
    echo(mutual, authority, client)


# What is spoken


@pytest.mark.parametrize("protocols", [["http/1.1"], []])
def test_a_client_without_alpn_h2_is_turned_away(
    secure: Site, authority: Authority, protocols: list[str]
) -> None:
    try:
        connection = RawConnection(secure.address, tls=context_of(authority, *protocols))
    except OSError:
        return  # turned away in the handshake
    until_closed(connection)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    "ciphers", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA"], ids=["cbc", "cbc-sha1"]
)
def test_old_versions_and_ciphers_are_refused(
    secure: Site, authority: Authority, ciphers: str
) -> None:
    context = context_of(authority, "h2")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    RawConnection(secure.address, tls=context).socket.close()  # TLS 1.2 has better ones
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            RawConnection(secure.address, tls=context)


def test_plain_text_on_a_secure_port_is_turned_away(secure: Site, authority: Authority) -> None:
    plain = RawConnection(secure.address)
    plain.send(PREFACE)
    until_closed(plain)
    echo(secure, authority)


# Files that change


@contextmanager
def rotating(
    kind: str, folder: Path, authority: Authority, server: Issued, **limits: float
) -> Iterator[tuple[Site, TlsFiles, ServerTls]]:
    """A front with files of its own; `ServerTls.files.refresh` reads them again."""
    files = TlsFiles(folder, server, authority.ca)
    tls = tls_of(files)
    with serving(kind, tls=tls, **limits) as site:
        yield site, files, tls


def shown_by(site: Site, authority: Authority, client: Issued) -> str:
    """The common name of the certificate that a new connection gets."""
    context = context_of(authority, "h2")
    context.load_cert_chain(client.certificate, client.key)
    connection: Any = RawConnection(site.address, tls=context)
    subject: Any = connection.socket.getpeercert()["subject"]
    connection.socket.close()
    return str(subject[0][0][1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_certificate_is_for_new_connections(
    kind: str, tmp_path: Path, authority: Authority, server: Issued, client: Issued
) -> None:
    with (
        rotating(kind, tmp_path, authority, server) as (site, files, tls),
        secure_channel(site.address, authority, client) as before,
    ):
        assert before.unary_unary(path("Echo"))(b"x", timeout=_TIMEOUT_S) == b"x"
        for name in ("second", "third"):
            files.show(authority.issue(name, "127.0.0.1"))
            tls.files.refresh()
            assert shown_by(site, authority, client) == name
        assert before.unary_unary(path("Echo"))(b"x", timeout=_TIMEOUT_S) == b"x"


@pytest.mark.parametrize("kind", KINDS)
def test_a_ca_that_was_removed_is_refused_for_every_new_connection(
    kind: str,
    tmp_path: Path,
    authority: Authority,
    foreign: Authority,
    server: Issued,
    client: Issued,
) -> None:
    other = foreign.issue("other")
    with rotating(kind, tmp_path, authority, server) as (site, files, tls):
        files.trust(authority.ca, foreign.ca)
        tls.files.refresh()
        echo(site, authority, other)
        files.trust(authority.ca)
        tls.files.refresh()
        for _ in range(12):
            assert_refused(site, authority, other)
        echo(site, authority, client)


def test_a_server_that_replaces_a_failed_one_has_the_files_of_now(
    tmp_path: Path, authority: Authority, foreign: Authority, server: Issued, client: Issued
) -> None:
    """The failed one would go on with the state that it has: gRPC keeps it by credentials."""
    other = foreign.issue("other")
    with rotating("grpc", tmp_path, authority, server) as (site, files, tls):
        files.trust(authority.ca, foreign.ca)
        tls.files.refresh()
        for _ in range(2):
            break_it(site, authority, client)
            eventually(lambda: works(site, authority, other), "it is replaced")
        files.trust(authority.ca)
        tls.files.refresh()
        for _ in range(12):
            assert_refused(site, authority, other)
        echo(site, authority, client)


def break_it(site: Site, authority: Authority, client: Issued) -> None:
    """Ends a server of `grpc.aio` by a path that is not UTF-8."""
    context = context_of(authority, "h2")
    context.load_cert_chain(client.certificate, client.key)
    with RawConnection.greeted(site.address, context) as connection:
        connection.send(b"".join(connection.request(request_headers(b"/\xff\xfe"))))
        assert connection.reply().ended_properly


def works(site: Site, authority: Authority, client: Issued) -> bool:
    try:
        echo(site, authority, client)
    except grpc.RpcError:
        return False
    return True


# Handshakes that do not end


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a part"])
def test_a_slow_handshake_ends(
    kind: str, sent: bytes, tmp_path: Path, authority: Authority, server: Issued, client: Issued
) -> None:
    with rotating(kind, tmp_path, authority, server, handshake_s=0.5) as (site, _, _):
        slow = RawConnection(site.address)
        slow.send(sent)
        until_closed(slow)
        echo(site, authority, client)


@pytest.mark.parametrize("kind", KINDS)
def test_half_open_handshakes_count_as_connections(
    kind: str, tmp_path: Path, authority: Authority, server: Issued
) -> None:
    with (
        rotating(kind, tmp_path, authority, server, max_connections=5) as (site, _, _),
        ExitStack() as stack,
    ):
        flood = [RawConnection(site.address) for _ in range(25)]
        for one in flood:
            stack.callback(one.socket.close)
        eventually(lambda: sum(map(is_closed, flood)) >= 20, "all but five are closed")


def test_a_flood_of_half_open_handshakes_keeps_no_honest_caller_out(
    tmp_path: Path, authority: Authority, server: Issued, client: Issued
) -> None:
    """The oldest handshake makes room; grpc-core refuses the newest."""
    with rotating("native", tmp_path, authority, server, max_connections=5) as (site, _, _):
        flood = [RawConnection(site.address) for _ in range(25)]
        for _ in range(3):
            echo(site, authority, client)
        for one in flood:
            one.socket.close()


def test_connections_that_serve_are_not_closed_for_new_ones(
    tmp_path: Path, authority: Authority, server: Issued, client: Issued
) -> None:
    with (
        rotating("native", tmp_path, authority, server, max_connections=1) as (site, _, _),
        secure_channel(site.address, authority, client) as channel,
    ):
        call = channel.unary_unary(path("Echo"))
        assert call(b"x", timeout=_TIMEOUT_S) == b"x"
        late = RawConnection(site.address)
        until_closed(late)
        assert call(b"x", timeout=_TIMEOUT_S) == b"x"


def test_a_front_that_stops_ends_its_handshakes(
    tmp_path: Path, authority: Authority, server: Issued
) -> None:
    with rotating("native", tmp_path, authority, server) as (site, _, _):
        half_open = RawConnection(site.address)
        half_open.send(b"\x16\x03\x01")
    until_closed(half_open)


def test_a_request_that_comes_with_the_end_of_the_handshake_is_served(
    mutual: Site, authority: Authority, client: Issued
) -> None:
    """In one packet, where the network delays the handshake's last part."""
    context = context_of(authority, "h2")
    context.load_cert_chain(client.certificate, client.key)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    host, _, port = mutual.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as plain:
        shaken = False
        while not shaken:
            try:
                tls.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65_536))
        frames = request_frames(Encoder(), request_headers(path("Echo").encode()), message(b"x"))
        tls.write(PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"".join(frames))
        plain.sendall(outgoing.read())
        received = b""
        while message(b"x") not in received:
            incoming.write(plain.recv(65_536))
            while True:
                try:
                    received += tls.read(65_536)
                except ssl.SSLWantReadError:
                    break


def test_a_connection_holds_little_memory(
    tmp_path: Path, authority: Authority, server: Issued, client: Issued
) -> None:
    context = context_of(authority, "h2")
    context.load_cert_chain(client.certificate, client.key)
    with rotating("native", tmp_path, authority, server) as (site, _, _), ExitStack() as stack:
        stack.enter_context(RawConnection.greeted(site.address, context))
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            caller = stack.enter_context(RawConnection.greeted(site.address, context))
            caller.send(b"".join(caller.request(request_headers(path("Nothing").encode()))))
            assert caller.reply().ended_properly
        assert (tracemalloc.get_traced_memory()[0] - before) / 20 < 128 << 10


def until_closed(connection: RawConnection) -> None:
    """Reads until the other side closes."""
    try:
        connection.until_closed(_TIMEOUT_S)
    except TimeoutError:
        pytest.fail("the connection is still open")
    except OSError:
        pass
    connection.socket.close()


def is_closed(connection: RawConnection) -> bool:
    connection.socket.settimeout(0.01)
    try:
        return connection.socket.recv(65_536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_no_call_fails_while_the_certificate_is_replaced(
    mutual: Site, tmp_path: Path, authority: Authority, server: Issued, client: Issued
) -> None:
    with rotating(mutual.kind, tmp_path, authority, server) as (site, files, tls):
        failures: list[BaseException] = []
        made = [0] * 3
        end = threading.Event()

        def caller(number: int) -> Callable[[], None]:
            def call() -> None:
                try:
                    while not end.is_set():
                        echo(site, authority, client)
                        made[number] += 1
                except BaseException as error:
                    failures.append(error)

            return call

        threads = [threading.Thread(target=caller(number)) for number in range(len(made))]
        for thread in threads:
            thread.start()
        for name in ("a", "b", "c", "d", "e"):
            files.show(authority.issue(name, "127.0.0.1"))
            tls.files.refresh()
            at_least = [count + 2 for count in made]
            eventually(
                lambda wanted=at_least: (
                    bool(failures) or all(a >= b for a, b in zip(made, wanted, strict=True))
                ),
                "each caller has called over new connections",
            )
        end.set()
        for thread in threads:
            thread.join(_TIMEOUT_S)
        assert not failures, failures
