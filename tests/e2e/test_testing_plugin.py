"""The plugin of `forebay_gateway.testing`, in a separate pytest with warnings as errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import environment

ROOT = Path(__file__).parents[2]

CONFTEST = """
from forebay_gateway.testing import serving  # before pytest loads it as a plugin
pytest_plugins = ["forebay_gateway.testing"]
"""

HEAD = """
import pytest
from tests.echo.v1 import echo_pb2, echo_pb2_grpc
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.echo.worker import EchoServicer

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]

def said(channel):
    stub = echo_pb2_grpc.EchoServiceStub(channel)
    return stub.Unary(EchoRequest(text="hello"), timeout=30).text
"""

SHOUTED = """
class Shouting(EchoServicer):
    def Unary(self, request, context):
        return EchoResponse(text=request.text.upper())

@pytest.fixture(scope="module")
def forebay_services():
    return {ECHO: Shouting()}

def test_shouted(forebay_channel):
    assert said(forebay_channel) == "HELLO"
"""

FOR_ALL = """
import pytest
from echoes import ECHO, EchoServicer

@pytest.fixture(scope="session")
def forebay_services():
    return {ECHO: EchoServicer()}
"""

SAID = """
from echoes import said

def test_said(forebay_channel, forebay_service, request):
    assert said(forebay_channel) == "hello"
    addresses = request.config.stash.setdefault("addresses", set())
    addresses.add(forebay_service.address)
    assert len(addresses) == 1
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio"],
            *["-p", "no:cacheprovider", "--rootdir", str(folder)],
            # Else it removes what earlier sessions of pytest have left, which can take minutes.
            *["--basetemp", str(folder / "temporary"), *arguments],
        ],
        cwd=folder,
        env=environment(PYTHONPATH=f"{ROOT}:{folder}"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="one process"),
        pytest.param(["-n", "2"], id="xdist", marks=pytest.mark.variant),
    ],
)
def test_each_module_has_the_services_that_it_names(tmp_path: Path, options: list[str]) -> None:
    write(tmp_path, conftest=CONFTEST, test_a=HEAD + SHOUTED)
    write(tmp_path, test_b=HEAD + SHOUTED.replace("upper", "title").replace("HELLO", "Hello"))
    done = run(tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.variant
def test_services_that_are_the_same_for_all_modules_are_started_once(tmp_path: Path) -> None:
    write(tmp_path, conftest=CONFTEST + FOR_ALL, echoes=HEAD, test_a=SAID, test_b=SAID)
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_without_services_the_error_says_what_to_define(tmp_path: Path) -> None:
    write(tmp_path, conftest=CONFTEST, test_a="def test_it(forebay_channel): pass")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "define a fixture `forebay_services`" in done.stdout


def test_the_plugin_is_not_loaded_unless_requested(tmp_path: Path) -> None:
    program = "import sys\ndef test_it(): assert not [m for m in sys.modules if 'forebay' in m]"
    write(tmp_path, test_a=program)
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
