"""The channels resume calls of a stub whose messages are in another file than its service."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool

import forebay
import forebay.aio
from forebay.cli.protos import include_path
from tests.e2e.conftest import ROOT
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse

_numbers = count()

PROTO = """
syntax = "proto3";
package tests.{name};
import "forebay/v1/route.proto";
import "tests/echo/v1/echo.proto";
service Parrot {{
  rpc Repeat(tests.echo.v1.EchoRequest) returns (tests.echo.v1.EchoResponse) {{
    option (forebay.v1.route) = {{task: "parrot.repeat", queue: "parrot"}};
  }}
}}
"""


class IdOfCall(grpc.GenericRpcHandler):
    """Answers every call with the `forebay-call-id` that the client sent."""

    def service(self, details: Any) -> grpc.RpcMethodHandler[Any, Any]:
        sent = dict(details.invocation_metadata).get("forebay-call-id", "none")
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: EchoResponse(text=str(sent)),
            EchoRequest.FromString,
            EchoResponse.SerializeToString,
        )


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=(IdOfCall(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a service's file, generated into a folder of the import path."""
    name = f"parrot{next(_numbers)}"
    source = tmp_path / f"{name}.proto"
    source.write_text(PROTO.format(name=name))
    includes = (f"-I{tmp_path}", f"-I{ROOT}", f"-I{include_path()}")
    outputs = (f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}")
    command = (sys.executable, "-m", "grpc_tools.protoc", *includes, *outputs, f"{name}.proto")
    subprocess.run(command, check=True)
    source.unlink()  # if a test has imported grpc_tools, its importer compiles such files
    monkeypatch.syspath_prepend(tmp_path)
    return name


def stub_of(name: str, channel: Any) -> Any:
    return importlib.import_module(f"{name}_pb2_grpc").ParrotStub(channel)


def test_a_call_has_an_id(name: str, address: str) -> None:
    with forebay.channel(address) as channel:
        assert stub_of(name, channel).Repeat(EchoRequest(), timeout=30).text != "none"


async def test_a_call_has_an_id_over_asyncio(name: str, address: str) -> None:
    async with forebay.aio.channel(address) as channel:
        assert (await stub_of(name, channel).Repeat(EchoRequest(), timeout=30)).text != "none"


def test_a_service_whose_module_is_missing_is_reported_once(
    name: str, address: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}_pb2.py").unlink()
    with forebay.channel(address) as channel:
        stub = stub_of(name, channel)
        with pytest.warns(RuntimeWarning) as raised:
            assert [stub.Repeat(EchoRequest(), timeout=30).text for _ in "ab"] == ["none"] * 2
    (warning,) = raised
    assert f"calls of /tests.{name}.Parrot/Repeat are not resumed" in str(warning.message)
    assert "import the module that protoc made" in str(warning.message)
    assert warning.filename == __file__


def test_a_service_whose_module_fails_is_reported(name: str, address: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}_pb2.py").write_text("raise RuntimeError('no')\n")
    with forebay.channel(address) as channel:
        stub = stub_of(name, channel)
        with pytest.warns(RuntimeWarning, match="are not resumed"):
            assert stub.Repeat(EchoRequest(), timeout=30).text == "none"


async def test_a_service_whose_module_is_missing_is_reported_once_over_asyncio(
    name: str, address: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}_pb2.py").unlink()
    async with forebay.aio.channel(address) as channel:
        stub = stub_of(name, channel)
        with pytest.warns(RuntimeWarning) as raised:
            responses = [await stub.Repeat(EchoRequest(), timeout=30) for _ in "ab"]
    assert [response.text for response in responses] == ["none"] * 2
    assert [warning.filename for warning in raised] == [__file__]


def test_a_service_that_is_not_in_the_channels_pool_is_reported(name: str, address: str) -> None:
    with forebay.channel(address, pool=DescriptorPool()) as channel:
        stub = stub_of(name, channel)
        with pytest.warns(RuntimeWarning, match="to the channel's `pool`"):
            stub.Repeat(EchoRequest(), timeout=30)


def test_a_module_that_is_imported_after_the_stub_was_created_counts(
    name: str, address: str, tmp_path: Path
) -> None:
    module = tmp_path / f"{name}_pb2.py"
    hidden = module.rename(tmp_path / "hidden")
    with forebay.channel(address) as channel:
        stub = stub_of(name, channel)
        hidden.rename(module)
        importlib.invalidate_caches()
        importlib.import_module(f"{name}_pb2")
        assert stub.Repeat(EchoRequest(), timeout=30).text != "none"


def test_a_channel_that_does_not_resume_reports_nothing(
    name: str, address: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}_pb2.py").unlink()
    with forebay.channel(address, resume=False) as channel, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stub_of(name, channel).Repeat(EchoRequest(), timeout=30).text == "none"
