"""A gateway that knows its callers: its audit log, what handlers see, what commands tell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2_grpc import OperationsStub

from forebay_gateway.identity.keys.api_key import ApiKey, new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from tests.commands import Ran, run
from tests.echo.running import (
    COROUTINES_APP,
    ECHO_APP,
    echo_environment,
    echo_gateway,
    echo_worker,
)
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, short_folder
from tests.pages import DOCS, Reader

pytestmark = pytest.mark.variant

TIMEOUT_S = 30.0
ECHO = "tests.echo.v1.EchoService"
OPERATIONS = "google.longrunning.Operations"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ROLES = {
    "caller": ["forebay.compute.v1.ComputeService.*"],
    "echoer": [f"{ECHO}.*"],
    "reader": ["forebay.calls.read"],
    "operator": [f"{ECHO}.*", "forebay.calls.*"],
}
OWNERS = {"jane": "acme", "joan": "acme", "rita": "acme", "otto": "ops", "reports": "acme"}
ROLE_OF = {
    "reports": "caller",
    "jane": "echoer",
    "joan": "echoer",
    "rita": "reader",
    "otto": "operator",
}

Pair = tuple[str, str]


@dataclass
class System:
    """A gateway with an audit log, and a worker."""

    folder: Path
    address: str
    env: dict[str, str]
    channel: grpc.Channel
    tokens: dict[str, str]
    keys: dict[str, ApiKey]

    @property
    def audit_file(self) -> Path:
        return self.folder / "audit.log"

    @property
    def echo(self) -> Any:
        return EchoServiceStub(self.channel)

    @property
    def operations(self) -> Any:
        return OperationsStub(self.channel)

    def as_(self, subject: str, *pairs: Pair) -> dict[str, Any]:
        """The arguments of an RPC of the subject."""
        authorization = ("authorization", f"Bearer {self.tokens[subject]}")
        return {"metadata": (authorization, *pairs), "timeout": TIMEOUT_S}

    def entries(self, **wanted: object) -> list[dict[str, Any]]:
        lines = self.audit_file.read_text().splitlines() if self.audit_file.exists() else []
        entries = map(json.loads, lines)
        return [one for one in entries if wanted.items() <= one.items()]

    def run(self, command: str, subject: str | None, *arguments: str) -> Ran:
        """A command of `forebay`, with the token of the subject."""
        file = self.folder / f"{subject}.token"
        token = () if subject is None else ("--token-file", str(file))
        return run("forebay", command, "-t", self.address, *token, *arguments, env=self.env)

    def write_keys(self, keys: Sequence[ApiKey]) -> None:
        new = self.folder / "keys.new"
        new.write_text(written_keys(keys))
        new.rename(self.folder / "keys.toml")


@contextmanager
def serving(pool: str, app: str) -> Iterator[System]:
    """A system whose worker has this pool."""
    with short_folder() as folder:
        keys, tokens = {}, {}
        for subject, owner in OWNERS.items():
            key, tokens[subject] = new_key(owner, (ROLE_OF[subject],), subject, None)
            keys[subject] = key
        (folder / "keys.toml").write_text(written_keys(keys.values()))
        env = echo_environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "forebay.compute.v1.compute_pb2"]',
            FOREBAY_AUTH=json.dumps({"keys": [{"file": str(folder / "keys.toml")}]}),
            FOREBAY_ROLES=json.dumps(ROLES),
            FOREBAY_AUDIT_FILE=str(folder / "audit.log"),
            FOREBAY_AUDIT_REQUIRED="true",
        )
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, pool, app=app),
            grpc.insecure_channel(address) as channel,
        ):
            for subject, token in tokens.items():
                (folder / f"{subject}.token").write_text(token)
            yield System(folder, address, env, channel, tokens, keys)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with serving("threads", ECHO_APP) as running:
        yield running


@pytest.fixture(scope="module", params=["threads", "asyncio"])
def of_any_pool(request: pytest.FixtureRequest) -> Iterator[System]:
    """A system whose handlers are functions, or coroutines."""
    if request.param == "threads":
        yield request.getfixturevalue("system")
        return
    with serving("asyncio", COROUTINES_APP) as running:
        yield running


def finished_call(system: System, call_id: str) -> str:
    """The id of a call of Jane's that has ended."""
    request = echo_pb2.EchoRequest(count=1, text="x")
    named = system.as_("jane", ("forebay-call-id", call_id))
    assert len(list(system.echo.ServerStream(request, **named))) == 1
    return call_id


@pytest.mark.parametrize("call_id", [None, "who-1"], ids=["ephemeral", "durable"])
def test_a_handler_sees_who_called(of_any_pool: System, call_id: str | None) -> None:
    system = of_any_pool
    pairs = () if call_id is None else (("forebay-call-id", call_id),)
    request = echo_pb2.EchoRequest(act="say who calls")
    seen = json.loads(system.echo.Quick(request, **system.as_("jane", *pairs)).text)
    assert seen == {
        "tenant": ["acme"],
        "subject": ["jane"],
        "roles": ["echoer"],
        "issuer": ["keys"],
        "identities": ["jane"],
    }


def test_handlers_of_one_message_see_their_own_callers(of_any_pool: System) -> None:
    """Jane and Joan are of one tenant, so their calls share messages; Otto's do not."""
    system = of_any_pool
    request = echo_pb2.EchoRequest(act="say who calls")

    def seen(subject: str) -> tuple[str, str, str]:
        known = json.loads(system.echo.QuickAgain(request, **system.as_(subject)).text)
        return known["tenant"][0], known["subject"][0], known["roles"][0]

    subjects = ("jane", "joan", "joan", "otto") * 30
    with ThreadPoolExecutor(len(subjects)) as threads:
        found = list(threads.map(seen, subjects))
    assert found == [(OWNERS[one], one, ROLE_OF[one]) for one in subjects]


def test_denials_are_in_the_log_with_the_call_and_trace_that_the_caller_named(
    system: System,
) -> None:
    traceparent = ("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01")
    with pytest.raises(grpc.RpcError) as refused:
        system.echo.Unary(
            echo_pb2.EchoRequest(),
            **system.as_("rita", ("forebay-call-id", "denied-1"), traceparent),
        )
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.RpcError) as unknown:
        system.echo.Unary(echo_pb2.EchoRequest(), timeout=TIMEOUT_S)
    assert unknown.value.code() is grpc.StatusCode.UNAUTHENTICATED
    (entry,) = system.entries(call_id="denied-1")
    assert entry["time"].endswith("+00:00")
    assert entry["peer"].startswith("ipv4:127.0.0.1:")
    assert {name: entry[name] for name in entry if name not in ("time", "peer", "message")} == {
        "event": "rpc",
        "decision": "deny",
        "permission": f"{ECHO}.Unary",
        "tenant": "acme",
        "subject": "rita",
        "issuer": "keys",
        "key_id": system.keys["rita"].key_id,
        "method": f"{ECHO}/Unary",
        "owner": "",
        "call_id": "denied-1",
        "trace_id": TRACE_ID,
        "reason": "PERMISSION_DENIED",
        "count": 1,
    }
    assert system.entries(event="rpc", reason="UNAUTHENTICATED", method=f"{ECHO}/Unary")


def test_cancelling_and_deleting_and_reaching_others_calls_is_in_the_log(system: System) -> None:
    name = f"tenants/acme/operations/{finished_call(system, 'reached-1')}"
    otto = system.as_("otto")
    system.operations.GetOperation(operations_pb2.GetOperationRequest(name=name), **otto)
    system.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=name), **otto)
    system.operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=name), **otto)
    found = [
        (entry["event"], entry["decision"], entry["subject"], entry["owner"], entry["method"])
        for entry in system.entries(call_id="reached-1")
    ]
    assert found == [
        ("read", "allow", "otto", "acme", f"{OPERATIONS}/GetOperation"),
        ("cancel", "allow", "otto", "acme", f"{OPERATIONS}/CancelOperation"),
        ("delete", "allow", "otto", "acme", f"{OPERATIONS}/DeleteOperation"),
    ]


def test_reading_ones_own_call_has_no_entry_and_failing_to_read_anothers_has_one(
    system: System,
) -> None:
    name = f"operations/{finished_call(system, 'own-1')}"
    rita = system.as_("rita")
    system.operations.GetOperation(operations_pb2.GetOperationRequest(name=name), **rita)
    assert system.entries(call_id="own-1") == []
    with pytest.raises(grpc.RpcError) as refused:
        system.operations.GetOperation(
            operations_pb2.GetOperationRequest(name="tenants/ops/operations/own-1"), **rita
        )
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    (entry,) = system.entries(call_id="own-1")
    assert (entry["decision"], entry["subject"], entry["owner"]) == ("deny", "rita", "ops")


def test_what_the_required_log_can_not_have_is_not_done(system: System) -> None:
    call_id = finished_call(system, "kept-1")
    rotated = system.audit_file.with_suffix(".1")
    system.audit_file.rename(rotated)
    system.audit_file.mkdir()
    name = f"operations/{call_id}"
    delete = operations_pb2.DeleteOperationRequest(name=f"tenants/acme/{name}")
    with pytest.raises(grpc.RpcError) as refused:
        system.operations.DeleteOperation(delete, **system.as_("otto"))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "audit log" in refused.value.details()
    assert finished_call(system, call_id) == call_id  # calls go on, and this one is still there
    system.audit_file.rmdir()
    system.operations.DeleteOperation(delete, **system.as_("otto"))
    assert [entry["event"] for entry in system.entries(call_id=call_id)] == ["delete"]


@pytest.mark.variant  # the file is looked at every 10 s
def test_changed_keys_are_in_the_log_and_so_are_bad_ones(system: System) -> None:
    key, _ = new_key("acme", ("echoer",), "new", None)
    system.write_keys([*system.keys.values(), key])
    eventually(lambda: bool(system.entries(event="keys", message=f"added: {key.key_id}")), "added")
    system.write_keys(list(system.keys.values()))
    eventually(
        lambda: bool(system.entries(event="keys", message=f"removed: {key.key_id}")),
        "removed",
    )
    (system.folder / "keys.toml").write_text("[[")
    eventually(lambda: bool(system.entries(event="keys", decision="deny")), "refused")


def test_no_secret_is_in_the_log(system: System) -> None:
    with pytest.raises(grpc.RpcError):
        system.echo.Unary(
            echo_pb2.EchoRequest(text="canary-text"),
            **system.as_("rita", ("x-canary", "canary-metadata"), ("cookie", "canary-cookie")),
        )
    forged = f"{system.tokens['jane'][:-3]}xyz"
    metadata = (("authorization", f"Bearer {forged}"), ("cookie", "canary-cookie"))
    with pytest.raises(grpc.RpcError):
        system.echo.Unary(echo_pb2.EchoRequest(), metadata=metadata, timeout=TIMEOUT_S)
    text = system.audit_file.read_text()
    assert text
    assert "canary" not in text
    assert not [token for token in (*system.tokens.values(), forged) if token[20:] in text]


def test_whoami_tells_who_the_token_is_and_what_it_may_do(system: System) -> None:
    (found,) = system.run("whoami", "rita", "--json").succeeded().messages
    assert found["authenticated"] is True
    assert (found["tenant"], found["subject"], found["roles"]) == ("acme", "rita", ["reader"])
    assert (found["issuer"], found["key_id"]) == ("keys", system.keys["rita"].key_id)
    assert (found["permissions"], found["methods"]) == (["forebay.calls.read"], [])
    assert found["expire_time"] is None
    lines = system.run("whoami", "otto").succeeded().out.splitlines()
    said = dict(line.split(maxsplit=1) for line in lines)
    assert said["subject"] == "otto"
    assert said["expires"] == "never"
    assert f"{ECHO}.Unary" in said["methods"]


def test_whoami_prints_what_the_page_shows(system: System, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text(system.tokens["reports"])
    with Reader(tmp_path, system.env, {"gateway.example:50051": system.address}) as reader:
        reader.read(DOCS / "identity.md", "Check your identity with forebay whoami")


def test_whoami_without_a_token_says_what_to_send(system: System) -> None:
    ran = system.run("whoami", None)
    assert ran.code == 1
    assert "UNAUTHENTICATED" in ran.err
    assert "Bearer" in ran.err


def test_doctor_tells_whom_the_gateway_does_not_tell_its_problems(system: System) -> None:
    silence = f"ok      gateway: {system.address} does not tell you its problems: "
    assert f"{silence}PERMISSION_DENIED\n" in system.run("doctor", "rita").out
    assert f"{silence}UNAUTHENTICATED\n" in system.run("doctor", None).out


def test_doctor_tells_what_the_token_may_do(system: System) -> None:
    findings = {one["subject"]: one for one in system.run("doctor", "rita", "--json").messages}
    assert findings["identity"] == {
        "subject": "identity",
        "good": True,
        "description": f"{system.address} knows you as rita of acme, who may do forebay.calls.read",
        "fix": "",
    }
    findings = {one["subject"]: one for one in system.run("doctor", None, "--json").messages}
    assert findings["identity"]["good"] is False
    assert "--token-file" in findings["identity"]["fix"]
