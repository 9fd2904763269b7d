"""The spans and log lines of calls, as an OTLP receiver and the processes' output have them.

A session of calls is made once for each pool. Exporters hold spans for a minute, so what arrives
was flushed at the end of the processes: of the gateway, of the worker, of its pool's children.
"""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from google.protobuf.json_format import MessageToDict, ParseDict
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from forebay.metadata import CALL_ID
from forebay_backends.ledger.keys import CallKey
from tests.commands import run
from tests.echo.running import ROOT, echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, EchoStatus
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import free_port, process, redis_server
from tests.http_requests import ask
from tests.otlp import ReceivedSpan, Receiver, otlp_receiver
from tests.plain.v1 import plain_pb2, plain_pb2_grpc

TRACE = "4bf92f3577b34da6a3ce929d0e0e{:04x}"
CALLERS_SPAN = "00f067aa0ba902b7"
STATE = "vendor=opaque"
MEMBERS = 12
ITEMS = 250

PRIVATE = "canary-in-{}"
"""Text that must be in no span and in no line of the log."""


@dataclass
class Session:
    """What a session of calls left behind."""

    pool: str
    receiver: Receiver
    folder: Path
    gateway_log: str = ""
    worker_log: str = ""
    found: dict[str, Any] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    """The trace contexts that handlers got in their metadata."""

    def trace(self, number: int) -> list[ReceivedSpan]:
        """The spans of the caller's trace of that number."""
        return [span for span in self.receiver.spans if span.trace_id == TRACE.format(number)]

    def one(self, number: int, kind: str) -> ReceivedSpan:
        """The only span of that kind in the trace."""
        (span,) = [span for span in self.trace(number) if span.kind == kind]
        return span

    def lines(self, call_id: str, log: str) -> list[dict[str, Any]]:
        """The lines of the log that are labelled with the call."""
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("call_id") == call_id]


def parent(number: int, *, sampled: bool = True) -> list[tuple[str, str]]:
    """The metadata of a caller whose trace has that number."""
    flags = "01" if sampled else "00"
    traceparent = f"00-{TRACE.format(number)}-{CALLERS_SPAN}-{flags}"
    baggage = PRIVATE.format("baggage")
    return [("traceparent", traceparent), ("tracestate", STATE), ("baggage", f"key={baggage}")]


UNARY, EPHEMERAL, STREAM, RERUN, ATTACHED, PLAIN, UNSAMPLED, FAILED, BATCH = range(9)
WEB, RECEIVED = 50, 60


@pytest.fixture(scope="module", params=["prefork", "threads"])
def system(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Session]:
    """A session of calls on a gateway and workers that have ended."""
    with otlp_receiver() as receiver:
        session = Session(request.param, receiver, tmp_path_factory.mktemp("traces"))
        run_session(session)
        yield session


def run_session(session: Session) -> None:
    operators = f"127.0.0.1:{free_port()}"
    with redis_server() as url, ExitStack() as running:
        env = echo_environment(
            FOREBAY_ADMIN_LISTEN=operators,
            FOREBAY_WEB_LISTEN="127.0.0.1:0",
            FOREBAY_LEDGER_URL=url,
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "tests.plain.v1.plain_pb2"]',
            FOREBAY_LOG_FORMAT="json",
            FOREBAY_LOG_LEVEL="DEBUG",
            FOREBAY_TRACE_TRUST="always",
            FOREBAY_CANCEL_GRACE_S="0",
            OTEL_BSP_SCHEDULE_DELAY="60000",
        )
        grpc_env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{session.receiver.grpc_port}"}
        http_env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{session.receiver.http_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        # Each kind of process exports by gRPC in one session, and by HTTP in the other.
        of_gateway, of_worker = grpc_env, http_env
        if session.pool == "threads":
            of_gateway, of_worker = http_env, grpc_env
        gateway, address = running.enter_context(echo_gateway({**env, **of_gateway}))
        worker = running.enter_context(echo_worker({**env, **of_worker}, session.pool, slots=1))
        with grpc.insecure_channel(address) as channel:
            make_calls(session, EchoServiceStub(channel))
            make_attached_call(session, channel, url)
            make_web_call(session, gateway.wait_for(r"serves browsers on http://([^\s\"]+)")[1])
            if session.pool == "prefork":  # what runs plain tasks is not ours
                make_plain_call(session, channel, {**env, "PLAIN_BROKER_URL": url})
        session.found["command"] = run(
            *["forebay", "call", "--trace", "-t", address, "tests.echo.v1.EchoService.Quick"],
            *["--service", "tests.echo.v1.echo_pb2"],
            env=env,
        )
        session.found["metrics"] = open_metrics(operators)
        assert worker.stop() == 0
        assert gateway.stop() == 0
        session.gateway_log, session.worker_log = gateway.output, worker.output


def open_metrics(address: str) -> str:
    """The gateway's metrics in the format that has exemplars."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    asked = urllib.request.Request(f"http://{address}/metrics", headers=accept)
    with urllib.request.urlopen(asked, timeout=30) as response:  # noqa: S310
        return str(response.read().decode())


def make_calls(session: Session, stub: EchoServiceStub) -> None:
    if session.pool == "prefork":  # of another pool, the whole worker would die
        again = EchoRequest(act="die once", text=str(session.folder / "died"), count=1)
        list(stub.Steady(again, metadata=[(CALL_ID, "rerun"), *parent(RERUN)]))
    text = PRIVATE.format("request")
    unary = [(CALL_ID, "unary"), *parent(UNARY), ("x-wish", PRIVATE.format("metadata"))]
    stub.Unary(EchoRequest(text=text, act="span"), metadata=unary)
    quick = EchoRequest(text=text, act="log")
    _, call = stub.Quick.with_call(quick, metadata=parent(EPHEMERAL))
    session.found["ephemeral"] = dict(call.trailing_metadata())[CALL_ID]
    list(stub.Steady(EchoRequest(count=ITEMS), metadata=[(CALL_ID, "stream"), *parent(STREAM)]))
    unsampled = [*parent(UNSAMPLED, sampled=False), (CALL_ID, "unsampled")]
    stub.Unary(EchoRequest(act="span"), metadata=unsampled)
    with pytest.raises(grpc.RpcError):
        stub.Unary(EchoRequest(text=text, act="raise"), metadata=parent(FAILED))
    status = EchoStatus(code=5, message=PRIVATE.format("details"))
    with pytest.raises(grpc.RpcError):
        stub.Unary(EchoRequest(text=text, status=status), metadata=parent(FAILED + 100))
    stub.QuickAgain(EchoRequest())  # calls share messages when it is known how long they take
    received = EchoRequest(act="received", text="traceparent", count=1)
    garbled = [("traceparent", "00-0-0-01"), ("tracestate", STATE)]
    for metadata in (garbled, garbled * 2, [], parent(RECEIVED)):
        (streamed,) = stub.ServerStream(received, metadata=metadata)
        session.received += [stub.Quick(received, metadata=metadata).text, streamed.text]
    busy = stub.Quick.future(EchoRequest(act="insist", seconds=0.5))  # in the only slot
    members = [
        stub.QuickAgain.future(EchoRequest(text=text), metadata=parent(BATCH + number))
        for number in range(MEMBERS)
    ]
    for member in (busy, *members):
        member.result()


def make_web_call(session: Session, web: str) -> None:
    headers = {**dict(parent(WEB)), CALL_ID: "web", "content-type": "application/json"}
    path = "/tests.echo.v1.EchoService/Unary"
    answer = ask(web, "POST", path, json.dumps({"act": "log"}), headers, 30)
    assert answer.status == 200, answer.text


def make_attached_call(session: Session, channel: grpc.Channel, url: str) -> None:
    stub = EchoServiceStub(channel)
    metadata = [(CALL_ID, "stream"), *parent(ATTACHED)]
    assert len(list(stub.Steady(EchoRequest(count=ITEMS), metadata=metadata))) == ITEMS
    call = CallKey("stream")
    with redis.Redis.from_url(url, decode_responses=True) as ledger:
        record = ledger.hgetall(f"{call.partition}:call:{call}")
        session.found["record"] = record["traceparent"]
        unsampled = CallKey("unsampled")
        assert "traceparent" not in ledger.hgetall(f"{unsampled.partition}:call:{unsampled}")


def make_plain_call(session: Session, channel: grpc.Channel, env: dict[str, str]) -> None:
    stub = plain_pb2_grpc.PlainServiceStub(channel)
    command = ["celery", "-A", "tests.plain.app", "worker", "-Q", "plain", "--pool", "solo"]
    options = ["--without-mingle", "--without-gossip", "-l", "INFO"]
    env = {**env, "PLAIN_RESULT_BACKEND": "rpc://"}
    with process(*command, *options, env=env, cwd=ROOT) as worker:
        worker.wait_for(r" ready\.")
        request = ParseDict({"what": "header", "with": "traceparent"}, plain_pb2.DoRequest())
        done, call = stub.Do.with_call(request, metadata=parent(PLAIN))
        session.found["header"] = MessageToDict(done)["value"]
        session.found["plain"] = dict(call.initial_metadata())[CALL_ID]
        refused = {"what": "raise", "with": f"ValueError({PRIVATE.format('error')!r})"}
        with pytest.raises(grpc.RpcError):
            stub.Do(ParseDict(refused, plain_pb2.DoRequest()), metadata=parent(PLAIN + 100))


of_prefork = pytest.mark.parametrize("system", ["prefork"], indirect=True)


def assert_is_whole(session: Session, number: int, queue: str = "echo") -> list[ReceivedSpan]:
    """The caller's span is above SERVER, that above PRODUCER, and that above CONSUMER."""
    server, producer, consumer = (
        session.one(number, kind) for kind in ("SERVER", "PRODUCER", "CONSUMER")
    )
    assert (server.service, server.parent) == ("forebay-gateway", CALLERS_SPAN)
    assert (producer.service, producer.parent) == ("forebay-gateway", server.id)
    assert (consumer.service, consumer.parent) == ("forebay-worker", producer.id)
    assert (producer.name, consumer.name) == (f"send {queue}", f"process {queue}")
    assert server["forebay.call_id"] == consumer["forebay.call_id"]
    assert {span.span.trace_state for span in (server, producer, consumer)} == {STATE}
    return [server, producer, consumer]


def test_a_durable_calls_spans_are_one_tree_with_the_handlers_own_below(system: Session) -> None:
    server, producer, consumer = assert_is_whole(system, UNARY)
    own = system.one(UNARY, "INTERNAL")
    assert (own.name, own.parent) == ("look up", consumer.id)
    assert server.name == "tests.echo.v1.EchoService/Unary"
    assert (server["rpc.system.name"], server["rpc.response.status_code"]) == ("grpc", "OK")
    assert server["rpc.method"] == consumer["rpc.method"] == server.name
    assert (consumer["forebay.attempt"], consumer["forebay.call_id"]) == (1, "unary")
    assert len(system.trace(UNARY)) == 4
    assert not server.failed
    assert not consumer.failed
    assert producer["messaging.destination.name"] == "echo"


def test_a_call_of_a_browser_has_the_same_spans_and_lines(system: Session) -> None:
    server, _, consumer = assert_is_whole(system, WEB)
    assert server.name == "tests.echo.v1.EchoService/Unary"
    assert (server["forebay.call_id"], server["rpc.response.status_code"]) == ("web", "OK")
    assert len(system.trace(WEB)) == 3
    (line,) = [
        line for line in system.lines("web", system.worker_log) if line["message"] == "no stock"
    ]
    assert (line["trace_id"], line["span_id"]) == (TRACE.format(WEB), consumer.id)


def test_an_ephemeral_calls_spans_are_one_tree(system: Session) -> None:
    server, *_ = assert_is_whole(system, EPHEMERAL)
    assert server["forebay.call_id"] == system.found["ephemeral"]


def test_the_record_keeps_the_context_of_the_producer(system: Session) -> None:
    producer = system.one(STREAM, "PRODUCER")
    assert system.found["record"] == f"00-{producer.trace_id}-{producer.id}-01"


def test_each_member_of_a_batch_is_below_its_own_producer_and_linked_to_the_first(
    system: Session,
) -> None:
    consumers = {}
    for number in range(BATCH, BATCH + MEMBERS):
        *_, consumer = assert_is_whole(system, number)
        consumers[consumer.id] = consumer
    in_batches = [each for each in consumers.values() if each["messaging.batch.message_count"]]
    assert in_batches, "no calls shared a message"
    linked = [each for each in in_batches if each.links]
    assert linked
    for each in linked:
        (first,) = (consumers[link] for link in each.links)
        assert first["messaging.batch.message_count"] == each["messaging.batch.message_count"]
        assert not first.links


def test_the_first_the_last_and_every_100th_item_are_events(system: Session) -> None:
    server, _, consumer = assert_is_whole(system, STREAM)
    assert server.items == consumer.items == [0, 100, 200, ITEMS - 1]


def test_a_caller_that_attaches_sends_nothing_and_links_to_the_call(system: Session) -> None:
    (server,) = system.trace(ATTACHED)
    assert (server.kind, server["forebay.call_id"]) == ("SERVER", "stream")
    assert server.links == [system.one(STREAM, "PRODUCER").id]
    assert server.items == [0, 100, 200, ITEMS - 1]


@of_prefork
def test_a_later_attempt_has_a_trace_of_its_own_and_links_to_the_call(system: Session) -> None:
    assert {span.kind for span in system.trace(RERUN)} == {"SERVER", "PRODUCER"}
    (again,) = [span for span in system.receiver.spans if span["forebay.attempt"] == 2]
    assert (again.parent, again["forebay.call_id"]) == ("", "rerun")
    assert again.links == [system.one(RERUN, "PRODUCER").id]


@pytest.mark.variant
@pytest.mark.timeout(180)  # a lease has to expire
def test_a_call_of_a_lost_worker_is_linked_to_its_next_attempt(tmp_path: Path) -> None:
    died = tmp_path / "died"
    with redis_server() as url, otlp_receiver() as receiver, ExitStack() as running:
        endpoint = f"http://127.0.0.1:{receiver.grpc_port}"
        env = echo_environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_TRACE_TRUST="always",
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        )
        gateway, address = running.enter_context(echo_gateway(env))
        lost = running.enter_context(echo_worker(env, "threads", slots=1))
        with grpc.insecure_channel(address) as channel:
            request = EchoRequest(act="die once", text=str(died), count=1)
            stub = EchoServiceStub(channel)
            call = stub.Steady(request, metadata=[(CALL_ID, "rerun"), *parent(RERUN)])
            assert lost.ended() == -signal.SIGKILL
            next_worker = running.enter_context(echo_worker(env, "threads", slots=1))
            assert len(list(call)) == 1
        assert next_worker.stop() == 0
        assert gateway.stop() == 0
        (again,) = [span for span in receiver.spans if span["forebay.attempt"] == 2]
        (producer,) = [
            span
            for span in receiver.spans
            if span.kind == "PRODUCER" and span.trace_id == TRACE.format(RERUN)
        ]
    assert (again.parent, again.links) == ("", [producer.id])


@of_prefork
def test_a_plain_tasks_message_carries_the_context_of_its_producer(system: Session) -> None:
    server, producer = system.one(PLAIN, "SERVER"), system.one(PLAIN, "PRODUCER")
    assert (server.parent, producer.parent) == (CALLERS_SPAN, server.id)
    assert system.found["header"] == f"00-{producer.trace_id}-{producer.id}-01"
    assert server["forebay.call_id"] == system.found["plain"]
    assert system.one(PLAIN + 100, "SERVER").failed


def test_a_handler_gets_the_producers_context_and_no_other(system: Session) -> None:
    producers = {
        f"00-{span.trace_id}-{span.id}-01"
        for span in system.receiver.spans
        if span.kind == "PRODUCER"
    }
    assert len(set(system.received)) == len(system.received) == 8
    assert set(system.received) <= producers


def test_forebay_call_prints_the_id_of_the_trace(system: Session) -> None:
    done = system.found["command"]
    assert done.code == 0, done.err
    (word, trace_id) = done.err.split()
    kinds = [span.kind for span in system.receiver.spans if span.trace_id == trace_id]
    assert (word, sorted(kinds)) == ("trace", ["CONSUMER", "PRODUCER", "SERVER"])


def test_an_unsampled_call_leaves_no_span(system: Session) -> None:
    assert system.trace(UNSAMPLED) == []


def test_spans_have_the_status_and_no_text_of_an_error(system: Session) -> None:
    server, _, consumer = assert_is_whole(system, FAILED)
    assert server["rpc.response.status_code"] == consumer["rpc.response.status_code"] == "INTERNAL"
    assert server.failed
    assert consumer.failed
    assert consumer["error.type"] == "builtins.RuntimeError"
    server, _, consumer = assert_is_whole(system, FAILED + 100)
    assert consumer["rpc.response.status_code"] == server["rpc.response.status_code"] == "NOT_FOUND"
    assert not server.failed
    everything = "".join(str(span) for span in system.receiver.spans)
    assert "secret" not in everything
    assert PRIVATE.format("") not in everything


def test_every_line_of_a_handler_has_its_call_attempt_and_span(system: Session) -> None:
    consumer = system.one(EPHEMERAL, "CONSUMER")
    call_id = consumer["forebay.call_id"]
    (line,) = [
        each for each in system.lines(call_id, system.worker_log) if each["message"] == "no stock"
    ]
    assert line["time"].endswith("Z")
    assert {name: line[name] for name in line if name not in ("time", "pid", "process")} == {
        "level": "WARNING",
        "logger": "shop.orders",
        "message": "no stock",
        "call_id": call_id,
        "attempt": 1,
        "method": "tests.echo.v1.EchoService.Quick",
        "trace_id": consumer.trace_id,
        "span_id": consumer.id,
    }
    (looked_up,) = [
        each for each in system.lines("unary", system.worker_log) if each["message"] == "looked up"
    ]
    assert looked_up["trace_id"] == TRACE.format(UNARY)


def test_a_traceback_is_in_the_line_of_its_call(system: Session) -> None:
    call_id = system.one(FAILED, "SERVER")["forebay.call_id"]
    (line,) = [line for line in system.lines(call_id, system.worker_log) if "exception" in line]
    assert line["exception"].splitlines()[-1].startswith("RuntimeError: ")
    assert line["trace_id"] == TRACE.format(FAILED)


@of_prefork
def test_the_gateways_lines_have_the_call_too(system: Session) -> None:
    server = system.one(PLAIN + 100, "SERVER")
    (line,) = system.lines(server["forebay.call_id"], system.gateway_log)
    assert (line["level"], line["trace_id"]) == ("WARNING", server.trace_id)
    assert line["method"] == "tests.plain.v1.PlainService.Do"


@pytest.mark.parametrize("door", ["request", "metadata", "details", "baggage", "error"])
def test_the_log_has_nothing_of_payloads_metadata_and_statuses(system: Session, door: str) -> None:
    for log in (system.gateway_log, system.worker_log):
        assert log
        assert PRIVATE.format(door) not in log


def test_each_line_of_the_log_is_an_object(system: Session) -> None:
    for log in (system.gateway_log, system.worker_log):
        lines = [line for line in log.splitlines() if line.startswith("{")]
        assert all(
            {"time", "level", "logger", "message"} <= json.loads(line).keys() for line in lines
        )
        assert not re.findall(r"^\[?\d{4}-.*", log, re.MULTILINE)


@pytest.mark.parametrize(
    ("histogram", "method"),
    [
        ("rpc_server_call_duration_seconds", "tests.echo.v1.EchoService/Unary"),
        ("forebay_queue_wait_seconds", "tests.echo.v1.EchoService.Unary"),
        ("forebay_run_seconds", "tests.echo.v1.EchoService.Unary"),
        ("forebay_first_item_seconds", "tests.echo.v1.EchoService.Steady"),
    ],
)
def test_histograms_lead_to_the_traces_of_sampled_calls(
    system: Session, histogram: str, method: str
) -> None:
    families = text_string_to_metric_families(system.found["metrics"])
    traces = {
        sample.exemplar.labels["trace_id"]
        for family in families
        for sample in family.samples
        if sample.name == f"{histogram}_bucket" and method in sample.labels.values()
        if sample.exemplar is not None
    }
    assert traces
    assert traces <= {TRACE.format(number) for number in range(FAILED + 101)}
    assert TRACE.format(UNSAMPLED) not in traces
