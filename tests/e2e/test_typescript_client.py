"""The client in clients/typescript, as docs/typescript.md says: generated, type-checked and run."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import gmpy2
import pytest

from tests.commands import run
from tests.conftest import Up
from tests.cut_connections import first_connection_cut
from tests.harness import environment
from tests.pages import DOCS, Reader

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(300)  # npm's installation is part of the first test

INSTALLED = (  # from the lock file
    "npm install @connectrpc/connect @connectrpc/connect-node @bufbuild/protobuf",
    "npm install --save-dev @bufbuild/protoc-gen-es typescript @types/node@20",
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client with its packages, so that the tree stays as it is."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        absent = f"{' and '.join(missing)} not found: the TypeScript client is not tested"
        pytest.fail(absent) if os.environ.get("CI") else pytest.skip(absent)
    clients = tmp_path_factory.mktemp("clients")
    folder = clients / "typescript"
    ignored = shutil.ignore_patterns("node_modules", "dist", "gen")
    shutil.copytree(ROOT / "clients" / "typescript", folder, ignore=ignored)
    (clients / "node").mkdir()
    shutil.copy(ROOT / "clients" / "node" / "rich_status.proto", clients / "node")
    install = ["npm", "ci", "--silent", "--prefer-offline", "--ignore-scripts"]
    run(*install, env=environment(), cwd=folder).succeeded()
    return folder


@pytest.fixture(scope="session")
def client(folder: Path, up: Up) -> Path:
    """The folder with the compiled client: everything on the page was done."""
    instead = {"127.0.0.1:50051": up.address}
    with Reader(folder, environment(), instead, running=INSTALLED) as reader:
        reader.read(DOCS / "typescript.md")
    return folder


def test_the_page_does_what_it_says(client: Path) -> None:
    assert (client / "dist" / "client.js").exists()


def test_a_stream_goes_on_after_its_connection_was_cut(up: Up, client: Path) -> None:
    digits = str(gmpy2.fac(200_000))
    with first_connection_cut(up.address, after_bytes=300_000) as way:
        command = ["node", "dist/client.js", way.address, "factorial"]
        printed = run(*command, env=environment(), cwd=client).succeeded().out
    assert way.connections >= 2
    sha256 = hashlib.sha256(digits.encode()).hexdigest()
    assert printed == f"{len(digits)} digits, sha256 {sha256}\n"
