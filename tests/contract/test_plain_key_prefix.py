"""Plain tasks on a shared Redis: all keys of broker and result backend begin with the prefix."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from google.protobuf.json_format import MessageToDict

from tests.contract.plain_site import PlainSite, error_of, plain_site, wish
from tests.harness import eventually, redis_server
from tests.plain.v1 import plain_pb2 as pb

TIMEOUT_S = 30.0
PREFIX = "team-a:"


@dataclass(frozen=True)
class Shared:
    """A Redis, and a site whose user may not touch other keys there."""

    admin: Any
    plain: PlainSite


@pytest.fixture(scope="module", params=["rpc", "redis"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shared]:
    with redis_server() as url, contextlib.closing(redis.Redis.from_url(url)) as admin:
        # Celery subscribes by patterns, which no rule but &* allows.
        rules = ["on", ">pw", f"~{PREFIX}*", "&*", "+@all", "-@dangerous", "+info"]
        admin.execute_command("ACL", "SETUSER", "app", *rules)
        url = url.replace("redis://", "redis://app:pw@")
        result = "rpc://" if request.param == "rpc" else url
        variables = {
            "PLAIN_BROKER_URL": url,
            "PLAIN_RESULT_BACKEND": result,
            "PLAIN_KEY_PREFIX": PREFIX,
            "FOREBAY_BROKER_URL": url,
            "FOREBAY_RESULT_URL": result,
            "FOREBAY_KEY_PREFIX": PREFIX,
            "FOREBAY_SERVICES": '["tests.plain.v1.plain_pb2"]',
            "FOREBAY_DRAIN_S": "0.2",
        }
        with plain_site(variables) as site:
            yield Shared(admin, site)


@pytest.fixture(autouse=True)
def only_prefixed(shop: Shared) -> Iterator[None]:
    """After each test."""
    yield
    keys = shop.admin.keys("*")
    assert keys
    assert [key for key in keys if not key.startswith(PREFIX.encode())] == []
    assert [entry for entry in shop.admin.acl_log() if entry["reason"] == "key"] == []


def test_results_and_errors_arrive(shop: Shared) -> None:
    stub = shop.plain.stub
    assert stub.Add(pb.AddRequest(x=1, y=2), timeout=TIMEOUT_S).total == 3
    assert MessageToDict(stub.Do(wish("answer", 7), timeout=TIMEOUT_S))["value"] == 7
    raised = wish("raise", "NoSuchOrder('order 7')")
    assert error_of(lambda: stub.Do(raised, timeout=TIMEOUT_S)).reason == "NO_SUCH_ORDER"


def test_a_running_task_is_revoked(shop: Shared, tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    given = {"begun": str(begun), "ended": str(ended), "seconds": TIMEOUT_S}
    call = shop.plain.stub.Do.future(wish("touch_then_sleep", given), timeout=TIMEOUT_S)
    eventually(begun.exists, "the task runs")
    call.cancel()
    shop.plain.worker.wait_for(r"Terminating ")
    assert not ended.exists()


def test_a_task_without_a_worker_is_withdrawn(shop: Shared, tmp_path: Path) -> None:
    given = {"begun": str(tmp_path / "ran"), "ended": str(tmp_path / "ran"), "seconds": 0}
    call = shop.plain.stub.DoLate.future(wish("touch_then_sleep", given), timeout=TIMEOUT_S)
    eventually(lambda: shop.admin.llen(f"{PREFIX}plain-late") == 1, "the message is in the queue")
    call.cancel()
    eventually(lambda: not shop.admin.llen(f"{PREFIX}plain-late"), "the message has left the queue")
