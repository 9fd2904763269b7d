"""Every channel argument is one that gRPC knows: it silently ignores all others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from grpc._cython import cygrpc

from tests.syntax import syntax_tree

ROOT = Path(__file__).parents[2]
FOLDERS = ("clients/python", "backends", "gateway", "workers", "examples", "bench", "tests")
_NAME = re.compile(r"grpc\.[a-z0-9_.]+")


def arguments(source: str) -> Iterator[str]:
    """The names in pairs of a name and a value, such as ("grpc.so_reuseport", 1)."""
    for node in ast.walk(syntax_tree(source)):
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str(name)), _]) if _NAME.fullmatch(name):
                yield name


@cache
def used() -> set[str]:
    """The names of all channel arguments in this repository."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    texts = (path.read_text("utf-8") for path in files)
    return {name for text in texts if '"grpc.' in text for name in arguments(text)}


def is_known(name: str) -> bool:
    """Whether the compiled gRPC library has the name, as a C string."""
    return name.encode() + b"\0" in Path(cygrpc.__file__).read_bytes()


@pytest.mark.parametrize("name", sorted(used()))
def test_grpc_knows_the_channel_argument(name: str) -> None:
    assert is_known(name), f"{name} is not in {cygrpc.__file__}; is it misspelt?"


def test_a_misspelt_argument_is_found() -> None:
    (name,) = arguments('options = [("grpc.http2.min_recv_ping_interval_without_data_ms", 1)]')
    assert not is_known(name)


def test_the_arguments_of_clients_and_gateways_are_among_them() -> None:
    assert {"grpc.lb_policy_name", "grpc.http2.min_ping_interval_without_data_ms"} <= used()
