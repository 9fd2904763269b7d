"""The wheel: built once, installed where there is nothing else, called from there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Up
from tests.harness import BIN, environment

ROOT = Path(__file__).parents[2]
OURS = {"forebay", "forebay_gateway", "forebay_ledger", "forebay_workers"}

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
    assert "forebay_ledger/lua/accept.lua" in names
    assert "forebay/compute/v1/compute_pb2.pyi" in names
    assert "forebay/service_config.json" in names


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


def test_the_command_line_says_what_it_needs(wheel: Path, tmp_path: Path) -> None:
    python = install(tmp_path, str(wheel))
    done = subprocess.run([python.parent / "forebay"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'forebay[cli]'" in done.stderr


def test_with_its_command_line_alone_a_client_host_can_call(
    up: Up, wheel: Path, tmp_path: Path
) -> None:
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
