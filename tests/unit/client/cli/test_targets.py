"""Addresses as `--target` takes them, and the default from the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from forebay.cli.shared_settings import read_services
from forebay.cli.targets import check_target, default_target


@pytest.mark.parametrize(
    "target",
    [
        *("localhost:50051", "127.0.0.1:1", "[::1]:65535", "gateway-1.internal:443", "dns:50051"),
        *("dns:///gateway:50051", "unix:/run/forebay.sock", "unix:forebay.sock"),
        *("ipv4:127.0.0.1:50051,127.0.0.2:50051", "xds:///gateways"),
    ],
)
def test_host_and_port_and_grpcs_own_uris_are_taken(target: str) -> None:
    check_target(target)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost", "HOST:PORT, such as localhost:50051"),
        (":50051", "HOST:PORT, such as localhost:50051"),
        ("[::1]", r"HOST:PORT, such as \[::1\]:50051"),
        ("http://localhost:80", "HOST:PORT without http://, such as localhost:80"),
        ("https://gateway/path", "HOST:PORT without https://, such as gateway:50051"),
        ("grpc://gateway:1", "HOST:PORT without grpc://, such as gateway:1"),
        ("::1:50051", r"an IPv6 address in brackets, such as \[::1\]:50051"),
        ("localhost:", "a port from 1 to 65535, such as localhost:50051"),
        ("localhost:http", "a port from 1 to 65535"),
        ("localhost:0", "a port from 1 to 65535"),
        ("localhost:65536", "a port from 1 to 65535"),
        ("localhost:50051/", "a port from 1 to 65535"),
    ],
)
def test_other_forms_are_refused_with_an_example(target: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check_target(target)


@pytest.mark.parametrize(
    ("listen", "target"),
    [
        (None, "127.0.0.1:50051"),
        ("10.0.0.1:7", "10.0.0.1:7"),
        ("0.0.0.0:7", "127.0.0.1:7"),
        ("[::]:7", "[::1]:7"),
        ("127.0.0.1:0", "127.0.0.1:50051"),
    ],
)
@pytest.mark.parametrize("source", ["file", "variable"])
def test_the_default_is_where_the_gateway_of_the_settings_listens(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    listen: str | None,
    target: str,
    source: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if listen is not None and source == "file":
        Path("forebay.toml").write_text(f'listen = "{listen}"\nledger_url = "redis://ledger"\n')
    elif listen is not None:
        Path("forebay.toml").write_text('listen = "127.0.0.1:1"')
        monkeypatch.setenv("FOREBAY_LISTEN", listen)
    assert default_target() == target


def test_services_are_those_of_the_variable_then_of_the_file_then_compute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_services() == (("forebay.compute.v1.compute_pb2",), "services")
    Path("forebay.toml").write_text('services = ["mine.binpb"]')
    assert read_services() == (("mine.binpb",), "forebay.toml: services")
    Path("other.toml").write_text('services = ["other.binpb"]')
    monkeypatch.setenv("FOREBAY_CONFIG", "other.toml")
    assert read_services() == (("other.binpb",), "other.toml: services")
    monkeypatch.setenv("FOREBAY_SERVICES", '["mypkg.my_pb2"]')
    assert read_services() == (("mypkg.my_pb2",), "FOREBAY_SERVICES")


@pytest.mark.parametrize(
    ("text", "read", "problem"),
    [
        ("listen = ", default_target, "forebay.toml: "),
        ("listen = 5", default_target, "forebay.toml: listen = 5: expected HOST:PORT"),
        ('services = "a"', read_services, "forebay.toml: services = 'a': expected a list of names"),
        ("services = [1]", read_services, r"forebay.toml: services = \[1\]: expected a list of"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    read: Callable[[], object],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("forebay.toml").write_text(text)
    with pytest.raises(click.ClickException, match=problem):
        read()


@pytest.mark.parametrize(
    ("variable", "value"), [("FOREBAY_CONFIG", "none.toml"), ("FOREBAY_SERVICES", "mine")]
)
def test_a_variable_that_can_not_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    with pytest.raises(click.ClickException, match=f"{variable} = '{value}': expected a"):
        read_services()
