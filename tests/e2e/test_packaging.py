"""The wheel: built once, installed into empty environments, and used there."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.commands import run
from tests.conftest import Up
from tests.harness import BIN, environment, process, short_folder
from tests.installed import ROOT, Installed, Wheel
from tests.pages import DOCS, Reader

OURS = {"forebay", "forebay_gateway", "forebay_backends", "forebay_workers"}

CALL = """
import sys, grpc
from forebay.compute.v1 import compute_pb2, compute_pb2_grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = compute_pb2_grpc.ComputeServiceStub(channel)
    print(stub.Add(compute_pb2.AddRequest(x=4, y=6), timeout=30).sum)
assert not {"celery", "redis", "numpy", "click"} & sys.modules.keys()
import forebay
with forebay.connect(sys.argv[1]) as client:
    print(client.factorial(30, timeout=30))
    try:
        client.random_matmul(2, 2)
    except ImportError as error:
        print(error)
"""


def contract() -> set[str]:
    """The contract's files, by their names in the repository."""
    return {str(proto.relative_to(ROOT)) for proto in (ROOT / "protos").rglob("*.proto")}


def test_the_wheel_holds_our_four_packages_and_nothing_else(wheel: Wheel) -> None:
    names = zipfile.ZipFile(wheel.path).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == OURS
    assert {f"{package}/py.typed" for package in OURS} <= set(names)
    assert "forebay_backends/ledger/lua/calls/accept.lua" in names
    assert "forebay/compute/v1/compute_pb2.pyi" in names
    assert "forebay/service_config.json" in names
    assert "forebay_gateway/web/openapi/descriptions.binpb" in names
    shipped = {name for name in names if name.startswith("forebay/protos/")}
    assert shipped == {f"forebay/{proto}" for proto in contract()}
    assert "forebay_gateway/cli/new/template/Makefile.template" in names
    page = "forebay_gateway/operators_page/static"
    of_page = {f"{page}/{name}" for name in ("index.html", "app.js", "vendor/preact.LICENSE")}
    assert of_page <= set(names)


@pytest.mark.parametrize(
    ("machine", "python", "implementation", "needed"),
    [
        ("x86_64", "3.11", "CPython", True),
        ("aarch64", "3.14", "CPython", True),
        ("arm64", "3.13", "CPython", True),
        ("riscv64", "3.13", "CPython", False),
        ("ppc64le", "3.13", "CPython", False),
        ("AMD64", "3.13", "CPython", False),  # Windows, where Forebay has no gateway
        ("x86_64", "3.16", "CPython", False),
        ("x86_64", "3.11", "PyPy", False),
    ],
)
def test_ngh2_is_needed_only_where_it_has_a_wheel(
    wheel: Wheel, machine: str, python: str, implementation: str, needed: bool
) -> None:
    """Elsewhere pip would compile it, or fail; the gateway serves by grpc.aio there."""
    (name,) = (one for one in zipfile.ZipFile(wheel.path).namelist() if one.endswith("/METADATA"))
    metadata = zipfile.ZipFile(wheel.path).read(name).decode()
    lines = re.findall(r"^Requires-Dist: (ngh2==.*)$", metadata, re.M)  # one for each extra
    markers = [Requirement(line).marker for line in lines]
    system = {
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_python_implementation": implementation,
        "extra": "gateway",
    }
    assert any(marker.evaluate(system) for marker in markers if marker) == needed


@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_base_dependencies_are_enough_for_the_stub_and_the_client(
    up: Up, wheel: Wheel, tmp_path: Path, resolution: str
) -> None:
    base = Installed(tmp_path / "venv")
    base.install(str(wheel.path), "--resolution", resolution)
    total, factorial, refusal = base.succeeds("python", "-c", CALL, up.address).splitlines()
    assert total == "10.0"
    assert factorial == "265252859812191058636308480000000"
    assert refusal == (
        "matrix calls need NumPy, which is not installed: pip install 'forebay[matrix]'"
    )
    installed = base.succeeds(BIN / "uv", "pip", "list", "--quiet")
    assert "celery" not in installed
    assert "numpy" not in installed


@pytest.mark.variant
def test_make_build_gives_a_wheel_that_can_be_installed(tmp_path: Path) -> None:
    """The wheel is made from the source distribution, in a clone that has nothing else."""
    tree = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, tree], check=True)
    (tree / ".venv").symlink_to(ROOT / ".venv")  # `setup` would install the clone there
    run("make", "build", "--old-file=setup", env=environment(), cwd=tree).succeeded()
    (built,) = (tree / "dist").glob("*.whl")
    assert len(list((tree / "dist").glob("*.tar.gz"))) == 1
    fresh = Installed(tmp_path / "venv")
    fresh.install(f"forebay[cli] @ {built.as_uri()}")
    assert fresh.succeeds("forebay", "--version") == "forebay, version 0.1.0\n"
    include = Path(fresh.succeeds("forebay", "protos").strip())
    assert (include / "forebay" / "v1" / "route.proto").is_file()


@pytest.mark.variant
def test_all_of_it_runs_from_the_wheel_at_its_lowest_versions(wheel: Wheel, tmp_path: Path) -> None:
    lowest = Installed(tmp_path / "venv")
    lowest.install(wheel.requirement("all"), "--resolution", "lowest-direct")
    printed = lowest.succeeds("python", ROOT / "examples" / "demo.py", cwd=tmp_path)
    assert "Add(4, 6) = 10" in printed
    # Nested variables and the options in a routes file need most of pydantic-settings and protobuf.
    (tmp_path / "routes.toml").write_text(
        '["google.cloud.location.Locations.GetLocation"]\ntask = "locations.get"\nqueue = "q"\n'
        'on_disconnect = "ON_DISCONNECT_DETACH"\nlimits = {queue_wait = "1s"}\n'
    )
    shown = lowest.succeeds(
        *("forebay", "routes", "--routes", "routes.toml"),
        *("--service", "google.cloud.location.locations_pb2"),
        cwd=tmp_path,
        COLUMNS="250",
        FOREBAY_APPLICATIONS__SHOP__BROKER_URL="redis://127.0.0.1:1/0",
    )
    assert "outlives its caller" in shown


def test_the_source_distribution_has_the_contract_and_what_operators_copy(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--installer", "uv", "--sdist", "--outdir", tmp_path]
    subprocess.run(build, cwd=ROOT, env=environment(), capture_output=True, check=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert contract() <= names
    ops = {str(path.relative_to(ROOT)) for path in (ROOT / "ops").rglob("*.*")}
    assert "ops/dashboard.json" in ops
    assert ops <= names


OWN = """
syntax = "proto3";
package acme;
import "forebay/v1/route.proto";
message Page { string text = 1; }
service Reports {
  rpc Render(Page) returns (stream Page) {
    option (forebay.v1.route) = {task: "reports.render", queue: "reports"};
  }
}
"""
BUF_YAML = "version: v2\nmodules: [{path: own}, {path: forebay}]\n"


def test_a_service_of_ones_own_is_compiled_against_the_wheel_and_served_from_it(
    wheel: Wheel, tmp_path: Path
) -> None:
    gateway = wheel.installed("gateway")
    include = gateway.succeeds("forebay", "protos").strip()
    assert Path(include).is_relative_to(gateway.bin.parent)
    own = tmp_path / "own"
    own.mkdir()
    (own / "acme_reports.proto").write_text(OWN)
    gateway.succeeds(
        *[BIN / "python", "-m", "grpc_tools.protoc", "-Iown", f"-I{include}", "acme_reports.proto"],
        *["--include_imports", "--descriptor_set_out=by_protoc.binpb", "--python_out=."],
        cwd=tmp_path,
    )
    (tmp_path / "buf.yaml").write_text(BUF_YAML)
    (tmp_path / "forebay").symlink_to(include)
    gateway.succeeds(BIN / "buf", "build", "--output", "by_buf.binpb", cwd=tmp_path)
    sources = ["by_protoc.binpb", "by_buf.binpb", "acme_reports_pb2"]
    services = [word for source in sources for word in ("--service", source)]
    command = [str(gateway.bin / "forebay"), "gateway", "--listen", "127.0.0.1:0", *services]
    with short_folder() as data:
        env = {"FOREBAY_DATA_DIR": str(data)}
        shown = gateway.succeeds("forebay", "routes", *services, cwd=tmp_path, **env)
        with process(*command, env={**gateway.env, **env}, cwd=tmp_path) as running:
            address = running.wait_for(r"ready on (\S+)")[1]
            described = gateway.succeeds(
                BIN / "grpcurl", "-plaintext", address, "describe", "acme.Reports"
            )
    assert "acme.Reports.Render\treports.render\treports\tdurable" in shown
    assert "rpc Render ( .acme.Page ) returns ( stream .acme.Page )" in described


@pytest.mark.parametrize("source", ["wheel", pytest.param("clone", marks=pytest.mark.variant)])
@pytest.mark.variant
def test_a_new_project_is_set_up_and_passes_its_tests_in_a_fresh_environment(
    wheel: Wheel, tmp_path: Path, source: str
) -> None:
    if source == "wheel":
        written = wheel.installed("cli").succeeds("forebay", "new", "weather", cwd=tmp_path)
        assert written.endswith("next: cd weather && make setup proto test\n")
        assert not list((tmp_path / "weather").rglob("*_pb2.py"))
    else:
        run("forebay", "new", "weather", env=environment(), cwd=tmp_path).succeeded()
    fresh = Installed(tmp_path / "venv")
    project = tmp_path / "weather"
    fresh.succeeds("make", "setup", "proto", f"PIP={BIN / 'uv'} pip", cwd=project)
    tested = fresh.succeeds("make", "test", cwd=project, PYTEST_ADDOPTS="-W error")
    assert "4 passed" in tested
    imported = fresh.succeeds("python", "-c", "import weather; print(weather.__file__)")
    assert imported == f"{project / 'weather' / '__init__.py'}\n"


def test_it_is_installed_as_the_page_says(wheel: Wheel, tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / wheel.path.name).symlink_to(wheel.path)
    # The wheel is built already; [all] takes pip 20 s, and is installed by other tests.
    instead = {"[all]": "[cli]"}
    with Reader(tmp_path, environment(), instead, running=("make build",)) as reader:
        reader.read(DOCS / "install.md")
