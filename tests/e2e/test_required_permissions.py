"""A route with `requires`: who may call its method, and which commands say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from tests.commands import run
from tests.echo.running import echo_environment, echo_gateway
from tests.harness import short_folder
from tests.identities import Keys

pytestmark = pytest.mark.variant

TIMEOUT_S = 30.0
ECHO = "tests.echo.v1.EchoService"
METHOD, PERMISSION = f"{ECHO}.Unrouted", "reports.render"
ROLES = {"renderer": [PERMISSION], "echoer": [f"{ECHO}.*"]}
ROUTES = f"""
["{METHOD}"]
task = "reports.render_page"
queue = "reports"
ephemeral = true
requires = "{PERMISSION}"
"""


@dataclass(frozen=True)
class System:
    """A gateway without workers; each subject has the role of its name."""

    folder: Path
    keys: Keys
    address: str
    channel: grpc.Channel
    env: dict[str, str]

    def refusal(self, subject: str) -> str:
        """The status that the subject gets for bytes that are no message of the method."""
        rpc = self.channel.unary_unary(f"/{ECHO}/Unrouted", lambda sent: sent, lambda got: got)
        with pytest.raises(grpc.RpcError) as refused:
            rpc(b"\xff", metadata=self.keys.metadata(subject), timeout=TIMEOUT_S)
        return str(of_rpc_error(refused.value))

    def run(self, command: str, subject: str, *arguments: str) -> str:
        token = self.folder / f"{subject}.token"
        token.write_text(self.keys.metadata(subject)[0][1].removeprefix("Bearer "))
        target = ("-t", self.address, "--token-file", str(token))
        return run("forebay", command, *target, *arguments, env=self.env).out


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with short_folder() as folder:
        (folder / "routes.toml").write_text(ROUTES)
        keys = Keys(folder / "keys.toml")
        for role in ROLES:
            keys.add(role, role)
        env = echo_environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_ROUTES=str(folder / "routes.toml"),
            **keys.variables(ROLES),
        )
        with echo_gateway(env) as (_, address), grpc.insecure_channel(address) as channel:
            yield System(folder, keys, address, channel, env)


def test_only_a_role_with_the_permission_may_call_the_method(system: System) -> None:
    """The names of all methods of the service grant nothing here."""
    assert system.refusal("renderer").startswith("INVALID_ARGUMENT/"), (
        "it comes from behind the guard"
    )
    refusal = system.refusal("echoer")
    assert refusal.startswith("PERMISSION_DENIED/PERMISSION_DENIED: ")
    assert PERMISSION in refusal


def test_the_name_of_the_method_is_no_permission(system: System) -> None:
    roles = json.dumps({**ROLES, "named": [METHOD]})
    done = run("forebay", "gateway", env={**system.env, "FOREBAY_ROLES": roles})
    assert done.code == 1
    assert f"roles.named: '{METHOD}' is the permission of no method" in done.err


@pytest.mark.parametrize(("subject", "may"), [("renderer", True), ("echoer", False)])
def test_a_caller_learns_whether_it_may_call_the_method(
    system: System, subject: str, may: bool
) -> None:
    answer = CallServiceStub(system.channel).WhoAmI(
        calls_pb2.WhoAmIRequest(), metadata=system.keys.metadata(subject), timeout=TIMEOUT_S
    )
    assert (METHOD in answer.methods) is may
    assert (METHOD in system.run("whoami", subject)) is may


def test_routes_shows_the_permission(system: System) -> None:
    done = run("forebay", "routes", env=system.env)
    requires = {row[0]: row[4] for row in (line.split("\t") for line in done.out.splitlines())}
    assert requires[METHOD] == PERMISSION
    assert requires[f"{ECHO}.Unary"] == f"{ECHO}.Unary"
