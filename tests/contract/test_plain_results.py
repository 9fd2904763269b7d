"""Plain tasks of an application whose result backend is neither Redis nor the broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from celery.backends.base import KeyValueStoreBackend
from google.protobuf.json_format import MessageToDict
from pymemcache import Client

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.polling import poll_until
from forebay_backends.settings import CeleryApplication
from forebay_backends.urls import broker_server
from forebay_gateway.plain.brokers.polled_results import PolledResults
from tests.contract.plain_site import ROOT, PlainSite, backends_of, error_of, plain_site, wish
from tests.harness import environment, eventually, free_port, process
from tests.plain.v1 import plain_pb2 as pb

TIMEOUT_S = 30.0


@contextlib.contextmanager
def memcached() -> Iterator[dict[str, str]]:
    if shutil.which("memcached") is None:
        missing = "memcached is not installed (Debian: apt-get install memcached)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    port = str(free_port())
    with process("memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", port, env=environment()):
        client = Client(("127.0.0.1", int(port)))
        eventually(lambda: _answers(client), "memcached answers")
        client.close()
        yield {"FOREBAY_RESULT_URL": f"cache+memcached://127.0.0.1:{port}/"}


@contextlib.contextmanager
def django_db(folder: Path) -> Iterator[dict[str, str]]:
    variables = {
        "FOREBAY_RESULT_URL": "django-db",
        "DJANGO_SETTINGS_MODULE": "tests.plain.django_settings",
        "PLAIN_DJANGO_DATABASE": f"{folder}/django.db",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "django", "migrate"]
    subprocess.run(command, env=environment(**variables), check=True, capture_output=True)
    yield variables


@contextlib.contextmanager
def results_in(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """The variables of a result backend of that kind."""
    match kind:
        case "memcached":
            with memcached() as variables:
                yield variables
        case "django-db":
            with django_db(folder) as variables:
                yield variables
        case "database":
            yield {"FOREBAY_RESULT_URL": f"db+sqlite:///{folder}/results.db"}
        case _:
            yield {"FOREBAY_RESULT_URL": f"file://{folder}"}


@pytest.fixture(
    scope="module",
    params=[
        "database",
        "files",
        pytest.param("memcached", marks=pytest.mark.variant),
        pytest.param("django-db", marks=pytest.mark.variant),
    ],
)
def polled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlainSite]:
    # A database of its own: another site's worker stores results where this gateway does not look.
    broker = f"{request.getfixturevalue('redis_url')}13"
    brokers = {"PLAIN_BROKER_URL": broker, "FOREBAY_BROKER_URL": broker}
    with results_in(request.param, tmp_path_factory.mktemp("results")) as results:
        more = {**brokers, **results, "PLAIN_RESULT_BACKEND": results["FOREBAY_RESULT_URL"]}
        with plain_site({**backends_of("redis+rpc", request), **more}) as site:
            yield site


def _answers(client: Client) -> bool:
    try:
        return bool(client.version())
    except OSError:
        return False


def overwrite_result(site: PlainSite, task_id: str, result: bytes) -> None:
    """Stores bytes that are no JSON as the task's result."""
    url = site.env["FOREBAY_RESULT_URL"]
    if url.startswith("db+"):
        with sqlite3.connect(url.removeprefix("db+sqlite:///")) as database:
            database.execute(
                "INSERT INTO celery_taskmeta (task_id, status, result) VALUES (?, 'SUCCESS', ?)",
                (task_id, result),
            )
    elif url == "django-db":
        row = {
            "task_id": task_id,
            "status": "SUCCESS",
            "result": b64encode(result).decode(),
            "content_type": "application/x-python-serialize",
            "content_encoding": "base64",
            **dict.fromkeys(("date_created", "date_done"), "2026-01-01"),
        }
        table = "django_celery_results_taskresult"
        names, values = ", ".join(row), ", ".join("?" * len(row))
        with sqlite3.connect(site.env["PLAIN_DJANGO_DATABASE"]) as database:
            database.execute(
                f"INSERT INTO {table} ({names}) VALUES ({values})",  # noqa: S608 - constants
                tuple(row.values()),
            )
    elif url.startswith("cache+"):
        client = Client(url.removeprefix("cache+memcached://").strip("/"))
        client.set(f"celery-task-meta-{task_id}", result)
        client.close()
    else:
        Path(url.removeprefix("file://"), f"celery-task-meta-{task_id}").write_bytes(result)


def status_of(site: PlainSite, expression: str) -> str:
    error = error_of(lambda: site.stub.Do(wish("raise", expression), timeout=TIMEOUT_S))
    return f"{error.code_name}/{error.reason}"


def test_results_and_exceptions_come_from_any_backend(polled: PlainSite) -> None:
    assert polled.stub.Add(pb.AddRequest(x=4), timeout=TIMEOUT_S).total == 5
    kinds = pb.Kinds(text="é", data=b"\xff", numbers=[2**62])
    kinds.at.FromJsonString("2026-11-27T12:30:15.250Z")
    assert polled.stub.Echo(kinds, timeout=TIMEOUT_S) == kinds
    assert status_of(polled, "NoSuchOrder('order 7')") == "NOT_FOUND/NO_SUCH_ORDER"
    assert status_of(polled, "NoSuchShelf(7, 'B')") == "NOT_FOUND/NO_SUCH_SHELF"
    assert status_of(polled, "KeyError('secret')") == "INTERNAL/HANDLER_FAILED"


def test_many_calls_at_once_have_each_its_own_result(polled: PlainSite) -> None:
    calls = [
        polled.stub.Add.future(pb.AddRequest(x=number, y=0), timeout=TIMEOUT_S)
        for number in range(40)
    ]
    assert [call.result().total for call in calls] == list(range(40))


def test_states_on_the_way_are_items_though_some_are_missed(polled: PlainSite) -> None:
    items = list(polled.stub.DoInSteps(wish("steps", 20), timeout=TIMEOUT_S))
    done = [item.progress.done for item in items if item.HasField("progress")]
    assert done
    assert done == sorted(set(done))
    assert [item.value for item in items if item.value] == [f"step {n}" for n in range(20)]


def test_the_call_waits_for_a_retry_of_the_task(polled: PlainSite) -> None:
    # Without a countdown, Celery itself may overwrite the next run's SUCCESS with RETRY.
    answer = polled.stub.Do(wish("retry_later", 1), timeout=TIMEOUT_S)
    assert MessageToDict(answer)["value"] == 1


def test_a_result_that_is_not_json_ends_its_call_and_is_not_unpickled(
    polled: PlainSite, tmp_path: Path
) -> None:
    call = polled.stub.Do.future(
        wish(
            "touch_then_sleep", {"begun": str(tmp_path / "a"), "ended": str(tmp_path), "seconds": 9}
        ),
        timeout=TIMEOUT_S,
    )
    eventually((tmp_path / "a").exists, "the task has begun")
    overwrite_result(polled, (tmp_path / "a").read_text(), pickle.dumps({"value": 1}))
    error = error_of(call.result)
    assert (error.code_name, error.reason) == ("INTERNAL", "RESULT_UNFIT")


def test_a_file_that_is_empty_between_two_states_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "celery-task-meta-task"
    seen: list[bytes] = []

    def on_meta(task_id: str, body: bytes, content_type: str) -> None:
        seen.append(body)

    async def read_all() -> None:
        url = f"file://{tmp_path}"
        application = CeleryApplication("", broker_server("redis://127.0.0.1:1"), url, None)
        results = PolledResults(application, on_meta, lambda: ["task"])
        reading = asyncio.create_task(results.listen())
        file.write_text('{"status": "PROGRESS", "result": 1}')
        await poll_until(lambda: bool(seen), TIMEOUT_S)
        file.write_text("")
        await asyncio.sleep(0.5)  # several looks, which nobody can observe
        file.write_text('{"status": "SUCCESS"}')
        await poll_until(lambda: b"SUCCESS" in seen[-1], TIMEOUT_S)
        await cancel_all([reading])
        await results.close()

    asyncio.run(read_all())
    assert [json.loads(body)["status"] for body in seen] == ["PROGRESS", "SUCCESS"]


class BlockingBackend(KeyValueStoreBackend):  # type: ignore[misc]  # Celery has no types
    """A result backend whose reads block until four run at once."""

    together = threading.Barrier(4)
    threads: ClassVar[set[str]] = set()
    readers: ClassVar[set[int]] = set()

    def get(self, key: Any) -> bytes:
        type(self).together.wait(TIMEOUT_S)
        self.threads.add(threading.current_thread().name)
        self.readers.add(id(self))
        return b'{"status": "SUCCESS", "result": 1}'


def test_four_threads_read_each_with_its_own_backend_and_not_the_event_loop() -> None:
    url = f"{__name__}:{BlockingBackend.__name__}://"
    tasks = [str(number) for number in range(16)]
    seen: list[str] = []

    def on_meta(task_id: str, body: bytes, content_type: str) -> None:
        seen.append(task_id)

    async def read_all() -> None:
        application = CeleryApplication("", broker_server("redis://127.0.0.1:1"), url, None)
        results = PolledResults(application, on_meta, lambda: tasks)
        reading = asyncio.create_task(results.listen())
        await poll_until(lambda: len(seen) >= len(tasks), TIMEOUT_S)
        await cancel_all([reading])
        await results.close()

    asyncio.run(read_all())
    assert sorted(seen, key=int) == tasks
    assert len(BlockingBackend.threads) == len(BlockingBackend.readers) == 4
    assert all(name.startswith("forebay-results") for name in BlockingBackend.threads)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("reddis://host", "'…' can't be used: No module named 'reddis'"),
        ("mongodb://host/db", "You need to install the pymongo library"),
        ("disabled://", "stores no results"),
    ],
)
def test_a_backend_that_cannot_be_read_is_refused_at_start(url: str, problem: str) -> None:
    env = environment(
        FOREBAY_BROKER_URL="redis://127.0.0.1:1/0",
        FOREBAY_RESULT_URL=url,
        FOREBAY_SERVICES='["tests.plain.v1.plain_pb2"]',
    )
    command = ["forebay", "gateway", "--listen", "127.0.0.1:0"]
    with process(*command, env=env, cwd=ROOT) as gateway:
        assert gateway.ended() == 1
        assert problem in gateway.output


@pytest.mark.variant
def test_an_outage_of_the_result_backend_is_logged_once_and_results_come_after_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    broker, results = f"{request.getfixturevalue('redis_url')}11", tmp_path / "results.db"
    url = f"db+sqlite:///{results}"
    more = {"PLAIN_BROKER_URL": broker, "FOREBAY_BROKER_URL": broker}
    more |= {"PLAIN_RESULT_BACKEND": url, "FOREBAY_RESULT_URL": url}
    with plain_site({**backends_of("redis+rpc", request), **more}) as site:
        assert site.stub.Add(pb.AddRequest(x=1, y=2), timeout=TIMEOUT_S).total == 3
        marks = {name: str(tmp_path / name) for name in ("begun", "ended")}
        call = site.stub.Do.future(wish("touch_then_sleep", {**marks, "seconds": 15}), timeout=60)
        eventually((tmp_path / "begun").exists, "the task has begun")
        aside = results.rename(tmp_path / "aside.db")
        site.gateway.wait_for(r"reading the result backend is interrupted")
        assert not (tmp_path / "ended").exists()
        aside.rename(results)
        site.gateway.wait_for(r"reading the result backend resumes, after")
        call.result(timeout=60)
        logged = site.gateway.output
        assert logged.count("is interrupted") == logged.count("resumes, after") == 1, logged
