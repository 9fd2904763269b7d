"""A port that the processes of one gateway share, and no others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.port import can_share_port, reserved_port

ANY = "127.0.0.1:0"


@contextmanager
def listening(address: str, *, shared: bool) -> Iterator[None]:
    """A listening socket with gRPC's options."""
    host, _, port = address.rpartition(":")
    with closing(socket.socket()) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        one.bind((host, int(port)))
        one.listen()
        yield


def test_processes_of_one_gateway_share_the_port() -> None:
    with reserved_port(ANY) as address, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(listening(address, shared=True))


@pytest.mark.parametrize("shared", [False, True], ids=["before", "while others listen"])
def test_no_other_process_can_share_the_port(shared: bool) -> None:
    with reserved_port(ANY) as address, ExitStack() as stack:
        if shared:
            stack.enter_context(listening(address, shared=True))
        with pytest.raises(GatewayError, match="is another gateway there"), reserved_port(address):
            pass
        with pytest.raises(OSError, match="in use"), listening(address, shared=False):
            pass


def test_the_port_stays_reserved_when_all_processes_have_ended() -> None:
    with reserved_port(ANY) as address:
        with listening(address, shared=True):
            pass
        with pytest.raises(GatewayError), reserved_port(address):
            pass
        with listening(address, shared=True):
            pass


def test_a_port_with_an_exclusive_listener_is_refused() -> None:
    with reserved_port(ANY) as address:
        pass
    with (
        listening(address, shared=False),
        pytest.raises(GatewayError, match=f"can't listen on {address}"),
        reserved_port(address),
    ):
        pass


def test_connections_of_an_earlier_gateway_do_not_block_the_port() -> None:
    with reserved_port(ANY) as address:
        pass
    host, _, port = address.rpartition(":")
    with closing(socket.socket()) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, int(port)))
        server.listen()
        client = socket.create_connection((host, int(port)))
        server.accept()[0].close()  # the side that closes first is in TIME_WAIT
        client.close()
    with reserved_port(address) as again, listening(again, shared=True):
        assert again == address


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "[::]"])  # noqa: S104 - what is tested
def test_host_names_of_any_form_are_accepted(host: str) -> None:
    with reserved_port(f"{host}:0") as address:
        assert address.startswith(f"{host}:")
        assert int(address.rpartition(":")[2]) > 0
        with pytest.raises(GatewayError), reserved_port(address):
            pass


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("unix:/run/forebay.sock:0", "can't be shared by processes"),
        ("no-such-host.invalid:0", "can't listen on no-such-host.invalid:0"),
        ("192.0.2.1:0", "can't listen on 192.0.2.1:0: this host has no such address"),
        ("192.0.2.1:50051", "can't listen on 192.0.2.1:50051: this host has no such address"),
    ],
)
def test_a_port_that_can_not_be_reserved_is_reported(listen: str, said: str) -> None:
    with pytest.raises(GatewayError, match=said), reserved_port(listen):
        pass


def test_a_path_has_one_server_and_a_port_can_be_shared() -> None:
    assert can_share_port("localhost:50051")
    assert can_share_port("[::1]:0")
    assert not can_share_port("unix:/run/forebay.sock")
