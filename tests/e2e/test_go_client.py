"""The client in clients/go, with Debian's Go; docs/go.md shows parts of it.

Debian's gRPC for Go is of 2020: it has no `NewClient`, and encodes messages with protobuf's old
library. So the client is built from a copy with `Dial`, and with a codec of the new library.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import gmpy2
import pytest

from tests.commands import Ran, run
from tests.conftest import Up
from tests.cut_connections import first_connection_cut
from tests.e2e.conftest import MutualTls
from tests.harness import environment
from tests.pages import DOCS, Reader

pytestmark = pytest.mark.timeout(300)  # the build is part of the first test

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "clients" / "go"
GOCODE = Path("/usr/share/gocode")
NEEDED = (
    "golang-go golang-google-grpc-dev golang-google-protobuf-dev protoc-gen-go protoc-gen-go-grpc"
)
NEWER_THAN_DEBIAN = {
    '\t"google.golang.org/grpc/credentials/insecure"\n': "",
    "grpc.WithTransportCredentials(insecure.NewCredentials())": "grpc.WithInsecure()",
    "grpc.NewClient(": "grpc.Dial(",
}
BUILD_TIMEOUT_S = 240.0
"""The first build compiles gRPC, too, which took over 60 s on two busy cores."""
CODEC = """package main

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

type codec struct{}

func (codec) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (codec) Unmarshal(data []byte, message interface{}) error {
	return proto.Unmarshal(data, message.(proto.Message))
}

func (codec) Name() string { return "proto" }

func init() { encoding.RegisterCodec(codec{}) }
"""


@dataclass(frozen=True)
class Client:
    """The built client."""

    program: Path
    env: dict[str, str]

    def run(self, address: str, step: str) -> Ran:
        return run(str(self.program), address, step, env=self.env)


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The client, built in a copy with what Debian's packages need."""
    sources = GOCODE / "src" / "google.golang.org"
    missing = [name for name in ("go", "protoc-gen-go", "protoc-gen-go-grpc") if not which(name)]
    missing += [name for name in ("grpc", "protobuf") if not (sources / name).is_dir()]
    if missing:
        absent = f"{', '.join(missing)} for Go not found (Debian: apt-get install {NEEDED})"
        pytest.fail(absent) if os.environ.get("CI") else pytest.skip(absent)
    path = tmp_path_factory.mktemp("go")
    module = path / "src" / "shop"
    shutil.copytree(SOURCE, module)
    main = (module / "main.go").read_text()
    for newer, older in NEWER_THAN_DEBIAN.items():
        assert newer in main
        main = main.replace(newer, older)
    (module / "main.go").write_text(main)
    (module / "codec.go").write_text(CODEC)
    env = environment(GO111MODULE="off", GOPATH=f"{path}:{GOCODE}", GOFLAGS="")
    run("buf", "generate", str(ROOT / "protos"), env=env, cwd=module).succeeded()
    build = ("go", "build", "-o", str(path / "client"), ".")
    run(*build, env=env, cwd=module, timeout_s=BUILD_TIMEOUT_S).succeeded()
    return Client(path / "client", env)


def which(program: str) -> str | None:
    return shutil.which(program, path=environment()["PATH"])


def test_the_page_does_what_it_says(up: Up, go_client: Client) -> None:
    instead = {"127.0.0.1:50051": up.address, "go run .": str(go_client.program)}
    by_modules = (  # Debian's packages are found without modules
        "go mod init shop",
        "go get google.golang.org/grpc google.golang.org/genproto/googleapis/rpc",
    )
    folder = go_client.program.parent / "src" / "shop"
    with Reader(folder, go_client.env, instead, running=by_modules) as reader:
        reader.read(DOCS / "go.md")


def test_a_stream_goes_on_after_its_connection_was_cut(up: Up, go_client: Client) -> None:
    digits = str(gmpy2.fac(200_000))
    with first_connection_cut(up.address, after_bytes=300_000) as way:
        printed = go_client.run(way.address, "factorial").succeeded().out
    assert way.connections >= 2
    sha256 = hashlib.sha256(digits.encode()).hexdigest()
    assert printed == f"{len(digits)} digits, sha256 {sha256}\n"


def test_it_calls_a_gateway_that_requires_certificates(
    mutual: MutualTls, go_client: Client
) -> None:
    secured = Client(go_client.program, {**go_client.env, **mutual.variables})
    assert secured.run(mutual.address, "add").succeeded().out == "10\n"
    assert go_client.run(mutual.address, "add").code != 0


def test_its_code_is_formatted_as_gos_own() -> None:
    if which("gofmt") is None:
        pytest.skip("gofmt is not installed")
    assert run("gofmt", "-l", str(SOURCE), env=environment()).succeeded().out == ""
