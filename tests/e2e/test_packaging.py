"""The wheel: built once, installed into empty environments, and used there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Up
from tests.harness import BIN, environment, process

ROOT = Path(__file__).parents[2]
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


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as `make build` makes it."""
    into = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--installer", "uv", "--wheel", "--outdir", str(into))
    (built,) = into.glob("*.whl")
    return built


def contract() -> set[str]:
    """The contract's files, by their names in the repository."""
    return {str(proto.relative_to(ROOT)) for proto in (ROOT / "protos").rglob("*.proto")}


def install(tmp_path: Path, requirement: str, *options: str) -> Path:
    """A fresh environment with the requirement in it; its python."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(BIN / "uv", "pip", "install", "--quiet", "--python", python, requirement, *options)
    return python


def test_the_wheel_holds_our_four_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == OURS
    assert {f"{package}/py.typed" for package in OURS} <= set(names)
    assert "forebay_backends/ledger/lua/calls/accept.lua" in names
    assert "forebay/compute/v1/compute_pb2.pyi" in names
    assert "forebay/service_config.json" in names
    shipped = {name for name in names if name.startswith("forebay/protos/")}
    assert shipped == {f"forebay/{proto}" for proto in contract()}
    assert "forebay_gateway/cli/new/template/Makefile.template" in names


@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_base_dependencies_are_enough_for_the_stub_and_the_client(
    up: Up, wheel: Path, tmp_path: Path, resolution: str
) -> None:
    python = install(tmp_path, str(wheel), "--resolution", resolution)
    total, factorial, refusal = run(python, "-c", CALL, up.address, cwd=tmp_path).splitlines()
    assert total == "10.0"
    assert factorial == "265252859812191058636308480000000"
    assert refusal == (
        "matrix calls need NumPy, which is not installed: pip install 'forebay[matrix]'"
    )
    installed = run(BIN / "uv", "pip", "list", "--quiet", "--python", python)
    assert "celery" not in installed
    assert "numpy" not in installed


def test_the_command_line_names_the_missing_packages(wheel: Path, tmp_path: Path) -> None:
    python = install(tmp_path, str(wheel))
    done = subprocess.run([python.parent / "forebay"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'forebay[cli]'" in done.stderr


def test_the_extra_cli_is_enough_to_make_calls(up: Up, wheel: Path, tmp_path: Path) -> None:
    python = install(tmp_path, f"forebay[cli] @ {wheel.as_uri()}")
    forebay = python.parent / "forebay"
    assert run(forebay, "call", "-t", up.address, "Add", "x=4", "y=6") == '{"sum": 10.0}\n'
    done = subprocess.run([forebay, "up"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'forebay[gateway]'" in done.stderr


def test_all_of_it_runs_from_the_wheel_at_its_lowest_versions(wheel: Path, tmp_path: Path) -> None:
    python = install(tmp_path, f"forebay[all] @ {wheel.as_uri()}", "--resolution", "lowest-direct")
    env = environment()
    env["PATH"] = f"{python.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [python, ROOT / "examples" / "demo.py"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Add(4, 6) = 10" in done.stdout


def test_the_source_distribution_has_the_contract(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--installer", "uv", "--sdist", "--outdir", str(tmp_path))
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert contract() <= names


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
    wheel: Path, tmp_path: Path
) -> None:
    python = install(tmp_path, f"forebay[gateway] @ {wheel.as_uri()}", "grpcio-tools")
    forebay = python.parent / "forebay"
    include = run(forebay, "protos", cwd=tmp_path).strip()
    assert Path(include).is_relative_to(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    (own / "acme_reports.proto").write_text(OWN)
    run(
        *[python, "-m", "grpc_tools.protoc", "-Iown", f"-I{include}", "acme_reports.proto"],
        *["--include_imports", "--descriptor_set_out=by_protoc.binpb", "--python_out=."],
        cwd=tmp_path,
    )
    (tmp_path / "buf.yaml").write_text(BUF_YAML)
    (tmp_path / "forebay").symlink_to(include)
    run(BIN / "buf", "build", "--output", "by_buf.binpb", cwd=tmp_path)
    sources = ["by_protoc.binpb", "by_buf.binpb", "acme_reports_pb2"]
    for source in sources:
        options = ["--service", source, "--data-dir", str(tmp_path)]
        shown = run(forebay, "routes", *options, cwd=tmp_path)
        assert "acme.Reports.Render\treports.render\treports\tdurable" in shown
    services = [word for source in sources for word in ("--service", source)]
    env = environment(FOREBAY_DATA_DIR=str(tmp_path / "data"))
    command = [str(forebay), "gateway", "--listen", "127.0.0.1:0", *services]
    with process(*command, env=env, cwd=tmp_path) as gateway:
        address = gateway.wait_for(r"ready on (\S+)")[1]
        described = run(BIN / "grpcurl", "-plaintext", address, "describe", "acme.Reports")
    assert "rpc Render ( .acme.Page ) returns ( stream .acme.Page )" in described


def test_a_new_project_is_set_up_and_passes_its_tests_on_the_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    python = install(tmp_path, f"forebay[testing] @ {wheel.as_uri()}", "pip")
    path = f"{python.parent}:{os.environ['PATH']}"
    env = {**environment(), "PATH": path, "PYTEST_ADDOPTS": "-W error"}
    project = tmp_path / "weather"
    for command, cwd in [
        (["forebay", "new", "weather"], tmp_path),
        (["make", "setup", "proto"], project),
        (["make", "test"], project),
    ]:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    assert run(python, "-c", "import weather; print(weather.__file__)") == (
        f"{project / 'weather' / '__init__.py'}\n"
    )


def test_without_protoc_a_new_project_prints_the_next_steps(wheel: Path, tmp_path: Path) -> None:
    python = install(tmp_path, f"forebay[cli] @ {wheel.as_uri()}")
    written = run(python.parent / "forebay", "new", "weather", cwd=tmp_path)
    assert written.endswith("next: cd weather && make setup proto test\n")
    assert not list((tmp_path / "weather").rglob("*_pb2.py"))
