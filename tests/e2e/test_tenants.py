"""Two tenants at one gateway: the same ids at once, each other's ids, and who may see both."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from google.longrunning import operations_pb2 as ops
from google.protobuf.duration_pb2 import Duration

from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay_backends.ledger.frames import CallerGone, Stop, parse_control
from forebay_backends.ledger.keys import CallKey
from tests.commands import Ran, run
from tests.e2e.known_calls import metadata_of, refusal
from tests.e2e.tenants import TIMEOUT_S, Caller, Tenants, get, new_id, running_tenants, texts
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import eventually

pytestmark = [pytest.mark.xdist_group("tenants"), pytest.mark.variant]


@pytest.fixture(
    scope="module",
    params=[
        "redis",
        pytest.param("grpc", marks=pytest.mark.variant),
        pytest.param("rabbitmq", marks=pytest.mark.variant),
    ],
)
def tenants(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenants]:
    """A gateway and a worker, once a module: also on the other front, and the other broker."""
    more = {"FOREBAY_FRONT": "grpc"} if request.param == "grpc" else {}
    if request.param == "rabbitmq":
        more = {"FOREBAY_BROKER_URL": request.getfixturevalue("rabbitmq").url("tenants")}
    with running_tenants(tmp_path_factory.mktemp("tenants"), **more) as tenants:
        yield tenants


def begun(caller: Caller, call_id: str, seconds: float = 60.0) -> Any:
    """A call that has begun, and whose handler sleeps."""
    request = EchoRequest(text=f"of {caller.token[:6]}", act="sleep", seconds=seconds)
    call = caller.echo.Unary.future(request, **caller.options(call_id))
    name = f"operations/{call_id}"

    def runs() -> bool:
        try:
            return bool(metadata_of(get(caller, name)).HasField("begin_time"))
        except grpc.RpcError:
            return False

    eventually(runs, f"{call_id} runs")
    return call


def cancel(caller: Caller, name: str) -> None:
    caller.operations.CancelOperation(ops.CancelOperationRequest(name=name), **caller.options())


def is_done(caller: Caller, call_id: str) -> bool:
    return bool(get(caller, f"operations/{call_id}").done)


# Every RPC that takes the id of a call; each ends with an error if there is no such call.
BY_ID: dict[str, Callable[[Caller, str], Any]] = {
    "attach by an empty stream": lambda caller, call_id: caller.echo.ClientStream(
        iter(()), **caller.options(call_id)
    ),
    "attach to a bidi stream": lambda caller, call_id: list(
        caller.echo.Bidi(iter(()), **caller.options(call_id))
    ),
    "resume": lambda caller, call_id: list(
        caller.echo.ServerStream(
            EchoRequest(text="x", count=3), **caller.options(call_id, forebay_resume_from="1")
        )
    ),
    "get": lambda caller, call_id: get(caller, f"operations/{call_id}"),
    "wait": lambda caller, call_id: caller.operations.WaitOperation(
        ops.WaitOperationRequest(name=f"operations/{call_id}", timeout=Duration(seconds=1)),
        **caller.options(),
    ),
    "cancel": lambda caller, call_id: cancel(caller, f"operations/{call_id}"),
    "delete": lambda caller, call_id: caller.operations.DeleteOperation(
        ops.DeleteOperationRequest(name=f"operations/{call_id}"), **caller.options()
    ),
    "items": lambda caller, call_id: list(
        caller.calls.ReadItems(
            calls_pb2.ReadItemsRequest(name=f"operations/{call_id}"), **caller.options()
        )
    ),
    "follow": lambda caller, call_id: list(
        caller.calls.ReadItems(
            calls_pb2.ReadItemsRequest(name=f"operations/{call_id}", follow=True),
            **caller.options(),
        )
    ),
}


def test_the_same_id_is_a_call_of_each_tenant(tenants: Tenants) -> None:
    call_id = new_id()
    for caller, text in ((tenants.acme, "a"), (tenants.umbrella, "b")):
        for _ in range(2):  # the second attaches
            response = caller.echo.Unary(EchoRequest(text=text), **caller.options(call_id))
            assert response.text == text
    streamed = new_id()
    for caller, text in ((tenants.acme, "a"), (tenants.umbrella, "b")):
        request = EchoRequest(text=text, count=3)
        first = texts(caller.echo.ServerStream(request, **caller.options(streamed)))
        resumed = caller.echo.ServerStream(
            request, **caller.options(streamed, forebay_resume_from="1")
        )
        assert len(first) == 3
        assert all(text in one for one in first)
        assert texts(resumed) == first[1:]


def test_uploads_under_one_id_do_not_mix(tenants: Tenants) -> None:
    call_id = new_id()
    callers = (tenants.acme, tenants.umbrella)

    def upload(caller: Caller, text: str) -> str:
        requests = (EchoRequest(text=f"{text}{number}") for number in range(50))
        response = caller.echo.ClientStream(requests, **caller.options(call_id))
        return str(response.text)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(upload, callers, "ab"))
    assert [set(text) - set("0123456789,; ") for text in found] == [{"a"}, {"b"}]


def test_ephemeral_calls_and_batches_answer_their_own_callers(tenants: Tenants) -> None:
    def call(number: int) -> tuple[str, str]:
        caller = (tenants.acme, tenants.umbrella)[number % 2]
        rpc = (caller.echo.Quick, caller.echo.QuickAgain)[number // 2 % 2]
        sent = f"{number}-{caller.token[:12]}"
        return sent, rpc(EchoRequest(text=sent), **caller.options()).text

    with ThreadPoolExecutor(32) as threads:
        for sent, received in threads.map(call, range(200)):
            assert sent == received


def test_batched_calls_of_two_tenants_under_one_id_do_not_mix(tenants: Tenants) -> None:
    """The calls have ids of their callers, which makes them durable; they share messages, too."""
    ids = [new_id() for _ in range(16)]

    def call(number: int) -> tuple[str, str]:
        tenant = number % 2
        caller, sent = (tenants.acme, tenants.umbrella)[tenant], f"{number}"
        request, options = EchoRequest(text=sent), caller.options(ids[number // 2])
        return sent, caller.echo.QuickAgain(request, **options).text

    with ThreadPoolExecutor(32) as threads:
        for sent, received in threads.map(call, range(32)):
            assert sent == received


def test_one_tenants_cancel_and_disconnect_leave_the_others_call_alone(tenants: Tenants) -> None:
    call_id = new_id()
    kept = begun(tenants.acme, call_id)
    cancelled = begun(tenants.umbrella, call_id)
    cancel(tenants.umbrella, f"operations/{call_id}")
    assert cancelled.code() == grpc.StatusCode.CANCELLED
    assert is_done(tenants.umbrella, call_id)
    assert not is_done(tenants.acme, call_id)
    kept.cancel()
    cancel(tenants.acme, f"operations/{call_id}")
    assert is_done(tenants.acme, call_id)


def test_an_ephemeral_calls_disconnect_reaches_its_worker(tenants: Tenants) -> None:
    def logged(word: str) -> int:
        return len(re.findall(rf"Task echo\.quick\[acme/[^]]+\] {word}", tenants.worker.output))

    received, ended = logged("received"), logged("succeeded")
    request = EchoRequest(act="sleep", seconds=60)
    call = tenants.acme.echo.Quick.future(request, **tenants.acme.options())
    eventually(lambda: logged("received") > received, "the worker has the call")
    assert logged("succeeded") == ended
    call.cancel()
    eventually(lambda: logged("succeeded") > ended, "the handler has ended")


def test_a_stop_of_an_ephemeral_call_names_its_owner(tenants: Tenants) -> None:
    def received() -> int:
        return tenants.worker.output.count("Task echo.quick[umbrella/")

    before, umbrella = received(), tenants.umbrella
    call = umbrella.echo.Quick.future(EchoRequest(act="sleep", seconds=60), **umbrella.options())
    eventually(lambda: received() > before, "the worker has the call")
    with redis.Redis.from_url(tenants.env["FOREBAY_LEDGER_URL"]).pubsub() as stops:
        stops.psubscribe("forebay:[cq]*")  # of processes and of queues
        assert stops.get_message(timeout=TIMEOUT_S)["type"] == "psubscribe"
        call.cancel()
        message = stops.get_message(timeout=TIMEOUT_S)
    key, _, event = parse_control(message["data"])
    assert CallKey.parse(key).owner == "umbrella"
    assert isinstance(event, Stop | CallerGone)


@pytest.mark.parametrize("rpc", BY_ID)
def test_anothers_id_is_answered_as_one_that_does_not_exist(tenants: Tenants, rpc: str) -> None:
    call_id = new_id()
    acme, umbrella = tenants.acme, tenants.umbrella
    assert texts(
        acme.echo.ServerStream(EchoRequest(text="secret", count=3), **acme.options(call_id))
    )
    foreign = refusal(lambda: BY_ID[rpc](umbrella, call_id))
    absent = refusal(lambda: BY_ID[rpc](umbrella, new_id()))
    assert foreign == absent
    assert foreign[:2] == ("NOT_FOUND", "CALL_UNKNOWN")
    assert metadata_of(get(acme, f"operations/{call_id}")).item_count == 3


def test_a_tenant_lists_its_own_calls_alone(tenants: Tenants) -> None:
    call_id = new_id()
    for caller in (tenants.acme, tenants.umbrella):
        caller.echo.Unary(EchoRequest(text="x"), **caller.options(call_id))
    only_umbrella = new_id()
    tenants.umbrella.echo.Unary(EchoRequest(), **tenants.umbrella.options(only_umbrella))
    mine = tenants.acme.listed()
    assert f"operations/{call_id}" in mine
    assert all(name.startswith("operations/") for name in mine)
    assert f"operations/{only_umbrella}" not in mine
    assert tenants.acme.listed(filter_text="tenant = umbrella") == set()
    assert tenants.acme.listed("tenants/acme/operations") == mine


@pytest.mark.parametrize(
    "name",
    [
        "tenants/umbrella/operations/x",
        "tenants/no-such-tenant/operations/x",
        "tenants//operations/x",
    ],
)
def test_the_calls_of_other_tenants_need_a_permission(tenants: Tenants, name: str) -> None:
    acme = tenants.acme
    said = refusal(lambda: get(acme, name))
    assert said == (
        "PERMISSION_DENIED",
        "PERMISSION_DENIED",
        "calls of another tenant need the permission forebay.calls.any_tenant",
    )
    collection = name.removesuffix("/x")
    assert refusal(lambda: acme.listed(collection)) == said
    assert refusal(lambda: acme.listed("tenants/-/operations")) == said
    assert refusal(lambda: cancel(acme, name)) == said


def test_an_operator_sees_and_cancels_the_calls_of_all(tenants: Tenants) -> None:
    call_id, operator = new_id(), tenants.operator
    calls = [begun(caller, call_id) for caller in (tenants.acme, tenants.umbrella)]
    names = {f"tenants/{tenant}/operations/{call_id}" for tenant in ("acme", "umbrella")}
    of_id = f'name = "*operations/{call_id}"'
    assert operator.listed("tenants/-/operations", of_id) == names
    assert operator.listed("tenants/acme/operations", of_id) == {
        f"tenants/acme/operations/{call_id}"
    }
    assert operator.listed(filter_text=of_id) == set()
    shown = get(operator, f"tenants/acme/operations/{call_id}")
    assert metadata_of(shown).tenant == "acme"
    for name in names:
        cancel(operator, name)
    assert [call.code() for call in calls] == [grpc.StatusCode.CANCELLED] * 2


def test_workers_show_the_calls_that_the_caller_may_reach(tenants: Tenants) -> None:
    call_id = new_id()
    call = begun(tenants.acme, call_id)

    def shown(caller: Caller) -> set[str]:
        listed = caller.calls.ListWorkers(calls_pb2.ListWorkersRequest(), **caller.options())
        return {name for worker in listed.workers for task in worker.running for name in task.calls}

    name = f"tenants/acme/operations/{call_id}"
    eventually(lambda: name in shown(tenants.operator), "the worker has reported the call")
    assert shown(tenants.viewer) == set()
    assert refusal(lambda: shown(tenants.acme))[0] == "PERMISSION_DENIED"
    cancel(tenants.acme, f"operations/{call_id}")
    assert call.code() == grpc.StatusCode.CANCELLED


def test_a_workers_log_names_the_tenant(tenants: Tenants) -> None:
    acme = tenants.acme
    call_id = new_id()
    acme.echo.Unary(EchoRequest(act="log"), **acme.options(call_id))
    acme.echo.Quick(EchoRequest(act="log"), **acme.options())
    line = (
        rf"no stock \[call={call_id} attempt=1 method=tests.echo.v1.EchoService.Unary tenant=acme"
    )
    tenants.worker.wait_for(line)
    tenants.worker.wait_for(r"method=tests.echo.v1.EchoService.Quick tenant=acme")


def forebay(tenants: Tenants, caller: str, *arguments: str) -> Ran:
    command, *others = arguments
    to = ["-t", tenants.address, "--token-file", str(tenants.token_file(caller))]
    return run("forebay", command, *to, *others, env=tenants.env)


def test_commands_show_other_tenants_to_operators(tenants: Tenants, tmp_path: Path) -> None:
    call_id = new_id()
    call = begun(tenants.acme, call_id)
    own = forebay(tenants, "acme", "ps", "--json").succeeded().messages
    assert [one["id"] for one in own if one["state"] == "RUNNING"] == [call_id]
    assert {one["tenant"] for one in own} == {"acme"}
    everyone = forebay(tenants, "operator", "ps", "--all-tenants").succeeded().out
    assert f"acme/{call_id}\t" in everyone
    one_tenant = forebay(tenants, "operator", "ps", "--tenant", "acme", "--json").succeeded()
    assert {one["tenant"] for one in one_tenant.messages} == {"acme"}
    once = ["top", "--once", "--show", "calls", "--all-tenants"]
    assert f"acme/{call_id}" in forebay(tenants, "operator", *once).succeeded().out
    denied = forebay(tenants, "acme", "ps", "--all-tenants")
    assert denied.code != 0
    assert "forebay.calls.any_tenant" in denied.err
    absent = forebay(tenants, "umbrella", "cancel", call_id)
    assert absent.code == 1
    assert "no call of that id is known" in absent.err
    start = f"acme/{call_id[:20]}"
    assert forebay(tenants, "operator", "cancel", start).succeeded().out == (
        f"acme/{call_id}\tCANCELLED\n"
    )
    assert call.code() == grpc.StatusCode.CANCELLED
    ended = forebay(tenants, "operator", "wait", "--tenant", "acme", "--json", call_id)
    assert json.loads(ended.out)["state"] == "CANCELLED"


@pytest.mark.variant
@pytest.mark.parametrize("tenants", ["redis"], indirect=True)
@pytest.mark.parametrize("rpc", [*BY_ID, "list"])
def test_foreign_and_absent_ids_take_the_same_time(tenants: Tenants, rpc: str) -> None:
    """2,000 calls in random order: how often is a foreign id answered later than an absent one?

    Half the time if they are answered alike. The bound is four standard deviations of the
    Mann-Whitney statistic of two samples of 1,000 away, sqrt((n + m + 1) / 12 n m) = 0.0129.
    """
    acme, umbrella = tenants.acme, tenants.umbrella
    # Of both kinds as many: what a process remembers of a text makes the next call faster.
    ids = {kind: [new_id() for _ in range(20)] for kind in ("foreign", "absent")}
    for call_id in ids["foreign"]:
        list(acme.echo.ServerStream(EchoRequest(text="x", count=3), **acme.options(call_id)))
    kinds = ["foreign", "absent"] * 1000
    random.shuffle(kinds)
    took: dict[str, list[float]] = {"foreign": [], "absent": []}
    for kind in kinds:
        call_id = ids[kind][len(took[kind]) % 20]
        began = time.perf_counter()
        answer = looked_for(umbrella, rpc, call_id)
        took[kind].append(time.perf_counter() - began)
        assert answer == (set() if rpc == "list" else "NOT_FOUND")
    assert abs(share_later(took["foreign"], took["absent"]) - 0.5) < 0.052


def looked_for(caller: Caller, rpc: str, call_id: str) -> str | set[str]:
    """The status of an RPC with the id, or the names in a list of that id alone."""
    if rpc == "list":
        return caller.listed(filter_text=f'name = "operations/{call_id}"')
    with pytest.raises(grpc.RpcError) as raised:
        BY_ID[rpc](caller, call_id)
    return of_rpc_error(raised.value).code_name


def share_later(ones: Sequence[float], others: Sequence[float]) -> float:
    """The share of all pairs in which the first is greater: U / n m of Mann and Whitney."""
    ranked = sorted([(value, 1) for value in ones] + [(value, 0) for value in others])
    ranks = sum(rank for rank, (_, of_ones) in enumerate(ranked, start=1) if of_ones)
    count = len(ones)
    return (ranks - count * (count + 1) / 2) / (count * len(others))
