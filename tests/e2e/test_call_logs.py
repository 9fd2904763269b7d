"""Every line of the log that is about a call names the call, its attempt and its trace.

A session of calls of each kind is made for each pool, with logs in JSON at level DEBUG. A line is
about a call if it is labelled with the call's id, or if its message or its traceback has the id or
the text that the call's handler logs.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from forebay.metadata import CALL_ID
from tests.echo.gates import Gates
from tests.echo.running import (
    COROUTINES_APP,
    ECHO_APP,
    ROOT,
    echo_environment,
    echo_gateway,
    echo_worker,
)
from tests.echo.v1.echo_pb2 import EchoRequest, EchoStatus, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, process, redis_server
from tests.plain.v1 import plain_pb2, plain_pb2_grpc

pytestmark = pytest.mark.variant

TIMEOUT_S = 60.0
MEMBERS = 6
LATE = "a reply came, but no caller waits"
"""The gateway has forgotten the call, and knows no more than its id."""
HANDLERS_THAT_LOG = (
    *("ephemeral", "durable", "streaming", "alone"),
    *(f"member-{number}" for number in range(MEMBERS)),
    *("ephemeral-abort", "durable-abort", "ephemeral-cancelled", "durable-cancelled"),
)
LABELS = ("call_id", "attempt", "method", "trace_id", "span_id")


@dataclass
class Session:
    """The calls of a session, and its log.

    Each call has a name of its own, which its handler logs, and a trace of its own.
    """

    pool: str
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)
    """The calls' ids, by their names."""
    log: str = ""

    def metadata(self, name: str, *pairs: tuple[str, str]) -> list[tuple[str, str]]:
        """The metadata of that call."""
        return [("traceparent", f"00-{self.trace_id(name)}-00f067aa0ba902b7-01"), *pairs]

    def trace_id(self, name: str) -> str:
        return name.encode().hex()[:32].rjust(32, "a")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines about that call."""
        call_id = self.ids.get(name, name)
        words = {call_id, shown(name)}
        return [
            line
            for line in self._lines()
            if line.get("call_id") == call_id or any(word in _text(line) for word in words)
        ]

    def known_ids(self) -> dict[str, str]:
        """All ids, also those of cancelled calls, whose callers were not told."""
        lines = {name: self.lines(name)[0] for name in HANDLERS_THAT_LOG}
        return {**{name: line["call_id"] for name, line in lines.items()}, **self.ids}

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self.log.splitlines():
            if line.startswith("{"):
                yield json.loads(line)


def shown(name: str) -> str:
    """The text that the handler of that call logs."""
    return f"<{name}>"


def _text(line: dict[str, Any]) -> str:
    """All of the line but the labels."""
    return json.dumps({key: value for key, value in line.items() if key not in LABELS})


class Caller:
    """Makes the calls of a session."""

    def __init__(self, session: Session, channel: grpc.Channel, worker: Process) -> None:
        self.session = session
        self.stub = EchoServiceStub(channel)
        self.plain = plain_pb2_grpc.PlainServiceStub(channel)
        self.worker = worker

    def unary(self, method: Any, name: str, **request: Any) -> None:
        asked = EchoRequest(**{"act": "log the text", "text": shown(name), **request})
        call = method.future(asked, metadata=self.session.metadata(name), timeout=TIMEOUT_S)
        self._ended(name, call)

    def _ended(self, name: str, call: Any) -> None:
        call.exception()
        metadata = {**dict(call.initial_metadata()), **dict(call.trailing_metadata())}
        self.session.ids[name] = metadata[CALL_ID]

    def stream(self, name: str) -> None:
        asked = EchoRequest(act="log the text", text=shown(name), count=3)
        metadata = self.session.metadata(name)
        call = self.stub.Steady(asked, metadata=metadata, timeout=TIMEOUT_S)
        assert len(list(call)) == asked.count
        self.session.ids[name] = dict(call.initial_metadata())[CALL_ID]

    def start_rerun(self) -> Any:
        """A call that kills its process the first time."""
        died = self.session.folder / "died"
        asked = EchoRequest(act="die once", text=str(died), count=1)
        pairs = ((CALL_ID, "call-that-dies"),)
        self.session.ids["rerun"] = "call-that-dies"
        metadata = self.session.metadata("rerun", *pairs)
        return self.stub.Steady(asked, metadata=metadata, timeout=TIMEOUT_S)

    def cancelled(self, method: Any, name: str) -> None:
        gate = Gate(path=str(self.session.folder / "never"), before=0)
        asked = EchoRequest(act="log the text", text=shown(name), gate=gate)
        call = method.future(asked, metadata=self.session.metadata(name), timeout=TIMEOUT_S)
        self.worker.wait_for(f"printed {shown(name)}")
        call.cancel()

    def cancelled_early(self, name: str) -> None:
        """A call that is cancelled while its worker has no slot for it."""
        gates = Gates(self.session.folder)
        busy = gates.call(self.stub, "Unary", "busy")
        eventually(lambda: gates.begun() == ["busy"], "the slot is taken")
        call_id = self.session.ids[name] = f"call-{name}"
        metadata = self.session.metadata(name, (CALL_ID, call_id))
        call = self.stub.Unary.future(EchoRequest(), metadata=metadata, timeout=TIMEOUT_S)
        self.worker.wait_for(rf"{call_id}\] received")
        call.cancel()
        self.worker.wait_for(f"{call_id}: its lease is lost")
        gates.open("busy")
        self.worker.wait_for(f"{call_id} is not begun")
        busy.result()

    def batch(self) -> None:
        """Calls share messages when it is known how long they take, and the slots are busy."""
        self.unary(self.stub.QuickAgain, "alone")
        busy = self.stub.Quick.future(EchoRequest(act="insist", seconds=0.5))
        members = {}
        for number in range(MEMBERS):
            name = f"member-{number}"
            asked = EchoRequest(act="log the text", text=shown(name))
            metadata = self.session.metadata(name)
            members[name] = self.stub.QuickAgain.future(asked, metadata=metadata)
        busy.result()
        for name, member in members.items():
            self._ended(name, member)

    def plain_task(self, name: str, what: str) -> None:
        asked = ParseDict({"what": what, "with": f"ValueError({name!r})"}, plain_pb2.DoRequest())
        metadata = self.session.metadata(name)
        self._ended(name, self.plain.Do.future(asked, metadata=metadata, timeout=TIMEOUT_S))


@pytest.fixture(scope="module", params=["prefork", "threads", "asyncio"])
def session(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Session:
    """A session of calls on a gateway and workers that have ended."""
    session = Session(request.param, tmp_path_factory.mktemp("logs"))
    with redis_server() as url, ExitStack() as running:
        env = echo_environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_LINGER_S="0",
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "tests.plain.v1.plain_pb2"]',
            FOREBAY_LOG_FORMAT="json",
            FOREBAY_LOG_LEVEL="DEBUG",
            FOREBAY_TRACE_TRUST="always",
            PLAIN_BROKER_URL=url,
            PLAIN_RESULT_BACKEND="rpc://",
        )
        gateway, address = running.enter_context(echo_gateway(env))
        workers = [running.enter_context(worker_of(session, env))]
        channel = running.enter_context(grpc.insecure_channel(address))
        caller = Caller(session, channel, workers[0])
        make_calls(caller)
        make_plain_calls(caller, env)
        call = caller.start_rerun()
        if session.pool != "prefork":  # its worker dies as a whole
            assert workers[0].ended() == -signal.SIGKILL
            workers.append(running.enter_context(worker_of(session, env)))
        assert len(list(call)) == 1
        assert workers[-1].stop() == 0
        assert gateway.stop() == 0
        session.log = "".join(one.output for one in (gateway, *workers))
    return session


def worker_of(session: Session, env: dict[str, str]) -> AbstractContextManager[Process]:
    """A worker with one slot."""
    app = COROUTINES_APP if session.pool == "asyncio" else ECHO_APP
    return echo_worker(env, session.pool, 1, app, "DEBUG")


def make_calls(caller: Caller) -> None:
    stub = caller.stub
    caller.unary(stub.Quick, "ephemeral")
    caller.unary(stub.Unary, "durable")
    caller.stream("streaming")
    caller.batch()
    aborted = EchoStatus(code=5, message="no such thing")
    caller.unary(stub.Quick, "ephemeral-abort", status=aborted)
    caller.unary(stub.Unary, "durable-abort", status=aborted)
    caller.unary(stub.Quick, "ephemeral-failure", act="raise")
    caller.unary(stub.Unary, "durable-failure", act="raise")
    caller.unary(stub.Quick, "ephemeral-exit", act="exit")
    caller.unary(stub.Unary, "durable-exit", act="exit")
    caller.cancelled(stub.Quick, "ephemeral-cancelled")
    caller.cancelled(stub.Unary, "durable-cancelled")
    if caller.session.pool == "threads":  # others take no message while their slot is busy
        caller.cancelled_early("cancelled-early")


def make_plain_calls(caller: Caller, env: dict[str, str]) -> None:
    command = ["celery", "-A", "tests.plain.app", "worker", "-Q", "plain", "--pool", "solo"]
    options = ["--without-mingle", "--without-gossip", "-l", "INFO"]
    with process(*command, *options, env=env, cwd=ROOT) as worker:
        worker.wait_for(r" ready\.")
        caller.plain_task("plain", "header")
        caller.plain_task("plain-failure", "raise")


def test_each_line_about_a_call_names_the_call_its_attempt_and_its_trace(session: Session) -> None:
    for name, call_id in session.known_ids().items():
        lines = session.lines(name)
        assert lines or name == "plain", name  # the gateway logs nothing of a task that succeeds
        for line in lines:
            assert line["call_id"] == call_id, (name, line)
            if line["message"].endswith(LATE):
                continue
            assert line["attempt"] > 0, (name, line)
            assert line.get("trace_id") == session.trace_id(name), (name, line)


def test_what_a_handler_logs_and_prints_is_found_by_its_call(session: Session) -> None:
    for name in HANDLERS_THAT_LOG:
        lines = [line for line in session.lines(name) if shown(name) in line["message"]]
        # No other line has the text, which is in the request and in the response.
        assert [line["logger"] for line in lines] == ["shop.orders", "celery.redirected"], name


def test_both_attempts_of_a_call_that_ran_again_are_told_apart(session: Session) -> None:
    assert {line["attempt"] for line in session.lines("rerun")} == {1, 2}


def test_a_call_that_failed_has_its_traceback(session: Session) -> None:
    for name in ("ephemeral-failure", "durable-failure"):
        (line,) = [line for line in session.lines(name) if "exception" in line]
        assert line["exception"].splitlines()[-1].startswith("RuntimeError: ")


def test_a_plain_task_that_failed_is_named_by_the_gateway(session: Session) -> None:
    (line,) = session.lines("plain-failure")
    assert (line["process"], line["method"]) == ("gateway", "tests.plain.v1.PlainService.Do")
