"""The client in clients/node: its checks, its page, its package and its example."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import gmpy2
import pytest

from tests.certificates import Authority, TlsFiles
from tests.commands import Ran, run
from tests.cut_connections import first_connection_cut
from tests.e2e.conftest import Site
from tests.harness import environment, forebay_gateway, free_port
from tests.node_client import SOURCE, built
from tests.pages import DOCS, Reader

pytestmark = pytest.mark.timeout(300)  # npm's installation is part of the first test

UNREACHABLE = ("Unavailable", "DeadlineExceeded")
"""Codes of a call that reaches no gateway: its deadline may pass in one of its attempts."""
MADE = ("npm ci", "npm run generate", "npm run build", "npm install ./forebay-0.1.0.tgz")


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled client, in a copy. Its tests are all on `site`, so one process has it."""
    return built(tmp_path_factory.mktemp("clients") / "node")


def example(client: Path, *arguments: str, **variables: str) -> Ran:
    command = ("node", "dist/example/compute.js", *arguments)
    return run(*command, env=environment(**variables), cwd=client)


def test_the_policy_and_its_parts(site: Site, node_client: Path) -> None:
    ran = run("npm", "test", "--silent", env=environment(), cwd=node_client).succeeded()
    assert re.search(r"pass [1-9]", ran.out), ran.out


@pytest.mark.parametrize(
    "page", [DOCS / "typescript.md", SOURCE / "README.md"], ids=lambda p: p.name
)
def test_a_page_does_what_it_says(site: Site, node_client: Path, page: Path) -> None:
    instead = {"127.0.0.1:50051": site.targets(1)[0]}
    with Reader(node_client, environment(), instead, running=MADE) as reader:
        reader.read(page)


def test_a_stream_goes_on_after_its_connection_was_cut(site: Site, node_client: Path) -> None:
    digits = str(gmpy2.fac(200_000))
    with first_connection_cut(site.targets(1)[0], after_bytes=300_000) as way:
        printed = example(node_client, way.address, "factorial").succeeded().out
    assert way.connections >= 2
    sha256 = hashlib.sha256(digits.encode()).hexdigest()
    assert printed == f"{len(digits)} digits, sha256 {sha256}\n"


def test_an_unavailable_gateway_is_reported_in_one_line(site: Site, node_client: Path) -> None:
    printed = example(node_client, f"127.0.0.1:{free_port()}", "deadline")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out in [f"{code}\n" for code in UNREACHABLE]


def test_a_wrong_step_prints_the_usage(site: Site, node_client: Path) -> None:
    printed = example(node_client, "127.0.0.1:1", "no-such-step")
    assert (printed.code, printed.out) == (2, "")
    assert printed.err.startswith("usage: node dist/example/compute.js TARGETS add|")


def test_it_calls_a_gateway_that_requires_certificates(
    site: Site, node_client: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    files = TlsFiles(tmp_path, authority.issue("server", "127.0.0.1"), authority.ca)
    caller = authority.issue("client", "spiffe://prod.example/ns/acme/sa/shop")
    variables = {
        "FOREBAY_CLIENT__CA": str(authority.ca),
        "FOREBAY_CLIENT__CERT": str(caller.certificate),
        "FOREBAY_CLIENT__KEY": str(caller.key),
    }
    with forebay_gateway(env={**site.env, **files.variables()}) as (gateway, address):
        assert example(node_client, address, "add", **variables).succeeded().out == "10\n"
        refused = example(node_client, address, "add", FOREBAY_CLIENT__CA=str(authority.ca))
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.split()[0] in UNREACHABLE
        gateway.wait_for("peer did not return a certificate")


@pytest.fixture(scope="session")
def project(node_client: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TypeScript project with the packed client, installed as a user would."""
    folder = tmp_path_factory.mktemp("project")
    pack = ("npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder))
    run(*pack, env=environment(), cwd=node_client).succeeded()
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    (package,) = folder.glob("*.tgz")
    versions = json.loads((SOURCE / "package.json").read_text())["devDependencies"]
    compiler = [f"{name}@{versions[name]}" for name in ("typescript", "@types/node")]
    install = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefer-offline")
    run(*install, str(package), *compiler, env=environment(), cwd=folder).succeeded()
    return folder


@pytest.mark.variant
def test_the_package_can_be_installed_elsewhere(
    site: Site, node_client: Path, project: Path
) -> None:
    shutil.copy(node_client / "dist" / "example" / "compute.js", project / "compute.js")
    command = ("node", "compute.js", site.targets(1)[0], "add")
    assert run(*command, env=environment(), cwd=project).succeeded().out == "10\n"


COMPILER_OPTIONS = {  # those of `tsc --init`, but the types of packages are checked, too
    "target": "es2022",
    "types": ["node"],
    "strict": True,
    "noUnusedLocals": True,
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "verbatimModuleSyntax": True,
    "isolatedModules": True,
    "skipLibCheck": False,
}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


@pytest.mark.variant
@pytest.mark.parametrize(
    "modules",
    [
        pytest.param({"module": "nodenext"}, id="nodenext"),
        pytest.param({"module": "esnext", "moduleResolution": "bundler"}, id="bundler"),
    ],
)
def test_a_strict_project_compiles_with_all_that_the_package_exports(
    site: Site, project: Path, modules: dict[str, str]
) -> None:
    program = (SOURCE / "test" / "consumer.ts").read_text()
    declared = (project / "node_modules" / "forebay" / "dist" / "src" / "index.d.ts").read_text()
    exported = set(words(" ".join(re.findall(r"\{(.*?)\}", declared, re.DOTALL))))
    assert "createTransport" in exported
    assert exported <= set(words(program))
    (project / "consumer.ts").write_text(program)
    options = {"compilerOptions": {**COMPILER_OPTIONS, **modules}, "files": ["consumer.ts"]}
    (project / "tsconfig.json").write_text(json.dumps(options))
    run("node_modules/.bin/tsc", env=environment(), cwd=project).succeeded()
    command = ("node", "consumer.js", site.targets(1)[0])
    (printed,) = run(*command, env=environment(), cwd=project).succeeded().messages
    assert printed == {
        "sum": 10,
        "digits": "265252859812191058636308480000000",
        "product": 5,
        "code": "OutOfRange",
        "isOurs": True,
        "field": "n",
        "retryMayHelp": False,
        "retries": [],
    }


@pytest.mark.parametrize("folder", [SOURCE, Path(__file__).parents[1] / "contract/fronts/grpc_js"])
def test_lock_files_have_hashes_and_no_addresses_of_packages(folder: Path) -> None:
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    named = {name: package for name, package in packages.items() if name}
    assert named
    assert all(package["integrity"].startswith("sha512-") for package in named.values())
    assert not any("resolved" in package for package in packages.values())
