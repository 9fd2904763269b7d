"""Another tenant's id on the web front and the operators' port, by each of their protocols."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.e2e.known_calls import metadata_of
from tests.e2e.tenants import TIMEOUT_S, Caller, Tenants, get, new_id, running_tenants, texts
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import free_port
from tests.http_requests import Answer, ask

pytestmark = [pytest.mark.xdist_group("tenants-web"), pytest.mark.variant]

OPERATIONS, CALLS = "/google.longrunning.Operations", "/forebay.v1.CallService"
STEADY, UNARY = "/tests.echo.v1.EchoService/Steady", "/tests.echo.v1.EchoService/Unary"
REQUEST = {"text": "secret", "count": 3}
CONNECT = {"connect_protocol_version": "1"}


@dataclass(frozen=True)
class Web:
    """A front that browsers use, as one caller."""

    address: str
    token: str

    def post(self, path: str, body: object, **headers: str) -> Answer:
        headers.setdefault("content_type", "application/json")
        return self._ask("POST", path, json.dumps(body).encode(), **headers)

    def connect_stream(self, path: str, body: object) -> Answer:
        data = json.dumps(body).encode()
        frame = b"\0" + len(data).to_bytes(4, "big") + data
        return self._ask("POST", path, frame, content_type="application/connect+json", **CONNECT)

    def events(self, path: str) -> Answer:
        return self._ask("GET", path, None, accept="text/event-stream")

    def _ask(self, method: str, path: str, body: bytes | None, **headers: str) -> Answer:
        named = {"authorization": f"Bearer {self.token}", **headers}
        return ask(self.address, method, path, body, named, TIMEOUT_S)


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    listen = {
        "FOREBAY_WEB_LISTEN": f"127.0.0.1:{free_port()}",
        "FOREBAY_ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
    }
    with running_tenants(tmp_path_factory.mktemp("tenants"), **listen) as tenants:
        yield tenants


def named(call_id: str) -> dict[str, str]:
    return {"name": f"operations/{call_id}"}


BY_ID: dict[str, Callable[[Web, str], Answer]] = {
    "get by Connect": lambda web, call_id: web.post(
        f"{OPERATIONS}/GetOperation", named(call_id), **CONNECT
    ),
    "get by REST": lambda web, call_id: web.post(f"{OPERATIONS}/GetOperation", named(call_id)),
    "wait": lambda web, call_id: web.post(
        f"{OPERATIONS}/WaitOperation", {**named(call_id), "timeout": "1s"}
    ),
    "cancel": lambda web, call_id: web.post(f"{OPERATIONS}/CancelOperation", named(call_id)),
    "delete": lambda web, call_id: web.post(f"{OPERATIONS}/DeleteOperation", named(call_id)),
    "items by Connect": lambda web, call_id: web.connect_stream(
        f"{CALLS}/ReadItems", named(call_id)
    ),
}
ON_THE_WEB_FRONT: dict[str, Callable[[Web, str], Answer]] = {
    "items by REST": lambda web, call_id: web.post(f"{CALLS}/ReadItems", named(call_id)),
    "items by SSE": lambda web, call_id: web.events(
        f"{CALLS}/ReadItems?message={quote(json.dumps(named(call_id)))}"
    ),
    "resume by REST": lambda web, call_id: web.post(
        STEADY, REQUEST, forebay_call_id=call_id, forebay_resume_from="1"
    ),
    "follow by SSE": lambda web, call_id: web.events(f"{STEADY}?call_id={call_id}"),
    "follow by SSE from an item": lambda web, call_id: web.events(
        f"{STEADY}?call_id={call_id}&last_event_id=1"
    ),
}


@pytest.fixture
def call_id(tenants: Tenants) -> str:
    """A call of acme's, with three items."""
    call_id, acme = new_id(), tenants.acme
    request = EchoRequest(text="secret", count=3)
    assert len(texts(acme.echo.Steady(request, **acme.options(call_id)))) == 3
    return call_id


def said(
    address: str, caller: Caller, call: Callable[..., Answer], call_id: str
) -> tuple[int, str]:
    """Status and body; the id is replaced, so that answers about two calls can be equal."""
    answer = call(Web(address, caller.token), call_id)
    return answer.status, answer.body.decode(errors="replace").replace(call_id, "ID")


def is_not_found(text: str) -> bool:
    """Whether the body is an error of that code, by Connect or else."""
    return '"code":"not_found"' in text.replace(" ", "") or "CALL_UNKNOWN" in text


def assert_unknown(
    tenants: Tenants, address: str, call: Callable[..., Answer], call_id: str
) -> None:
    """Acme reaches its call; to umbrella the call is as one that does not exist."""
    foreign = said(address, tenants.umbrella, call, call_id)
    assert foreign == said(address, tenants.umbrella, call, new_id())
    assert is_not_found(foreign[1]), foreign
    assert metadata_of(get(tenants.acme, f"operations/{call_id}")).item_count == 3
    status, text = said(address, tenants.acme, call, call_id)
    assert (status, is_not_found(text)) == (200, False), text


@pytest.mark.parametrize("port", ["WEB", "ADMIN"])
@pytest.mark.parametrize("rpc", BY_ID)
def test_anothers_id_is_answered_as_one_that_does_not_exist(
    tenants: Tenants, call_id: str, rpc: str, port: str
) -> None:
    assert_unknown(tenants, tenants.env[f"FOREBAY_{port}_LISTEN"], BY_ID[rpc], call_id)


@pytest.mark.parametrize("rpc", ON_THE_WEB_FRONT)
def test_anothers_call_is_not_followed(tenants: Tenants, call_id: str, rpc: str) -> None:
    assert_unknown(tenants, tenants.env["FOREBAY_WEB_LISTEN"], ON_THE_WEB_FRONT[rpc], call_id)


def test_the_same_id_is_a_call_of_each_tenant(tenants: Tenants) -> None:
    call_id = new_id()
    address = tenants.env["FOREBAY_WEB_LISTEN"]
    for caller, text in ((tenants.acme, "a"), (tenants.umbrella, "b")):
        for _ in range(2):  # the second attaches
            answer = Web(address, caller.token).post(UNARY, {"text": text}, forebay_call_id=call_id)
            assert answer.json["text"] == text
