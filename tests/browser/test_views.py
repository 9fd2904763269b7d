"""The operators' page, as people use it, in a real Chromium."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from statistics import median

import pytest

from tests.browser.known_callers import known_callers
from tests.browser.prefix import prefixed
from tests.browser.running import Browser
from tests.browser.stack import HOSTILE, SERVICE, WORKER, Stack, page_gateway, running_stack
from tests.browser.vendor import ROOT, TARGET, vendored
from tests.commands import run
from tests.harness import environment, eventually

UNARY, STREAM = f"{SERVICE}.Unary", f"{SERVICE}.ServerStream"


def shown(stack: Stack, **more: object) -> dict[str, object]:
    """What each view has to show."""
    known = {"call": stack.succeeded, "method": UNARY, "queue": "echo", "worker": WORKER}
    return {**known, **more}


def test_each_view_shows_what_it_should_and_axe_finds_nothing_serious(
    browser: Browser, page_stack: Stack
) -> None:
    browser.run("views", page_stack.base, **shown(page_stack, scheme="light", width=1280))


@pytest.mark.variant
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_view_fits_a_phone(browser: Browser, page_stack: Stack, scheme: str) -> None:
    browser.run("views", page_stack.base, **shown(page_stack, scheme=scheme, width=375))


def test_calls_are_cancelled_and_deleted_one_or_many_and_no_row_is_stale(
    browser: Browser, page_stack: Stack
) -> None:
    browser.run("actions", page_stack.base, running=page_stack.started(3))


def test_texts_of_callers_are_shown_and_never_become_part_of_the_page(
    browser: Browser, page_stack: Stack
) -> None:
    with page_stack.with_hostile_metadata() as running:
        browser.run(
            "hostile",
            page_stack.base,
            text=HOSTILE,
            call=page_stack.succeeded,
            failed=page_stack.failed,
            running=running,
            worker=WORKER,
            method=UNARY,
            request={"text": HOSTILE},
        )


def test_the_explorer_calls_and_its_snippets_do_the_same(
    browser: Browser, page_stack: Stack, tmp_path: Path
) -> None:
    snippets = browser.run(
        "explorer",
        page_stack.base,
        unary={"method": UNARY, "fields": {"text": "it's ☃"}, "answer": '"text": "it\'s ☃"'},
        stream={
            "method": STREAM,
            "request": {"text": "many", "count": 3},
            "count": 3,
            "answer": '"text": "many"',
        },
        failing={
            "request": {"status": {"code": 9, "message": "no tea"}},
            "code": "failed_precondition",
            "message": "no tea",
        },
    )
    folder = tmp_path / "python.py"
    folder.write_text(snippets[1])
    env = environment(PYTHONPATH=str(ROOT))
    for command in (["sh", "-c", snippets[0]], [sys.executable, str(folder)]):
        assert "☃" in run(*command, env=env, cwd=ROOT).succeeded().out


@pytest.mark.variant
def test_the_overview_has_the_figures_of_the_last_hour(browser: Browser, page_stack: Stack) -> None:
    tiles = [
        ("Calls a second", r"\d+\.\d+"),
        ("Errors a second", r"\d+\.\d+"),
        ("p50", "(–|.+ (ms|s))"),
        ("p99", "(–|.+ (ms|s))"),
        ("Messages in queues", r"\d+"),
        ("Oldest wait", ".+ (ms|s)"),
        ("Slots busy", "4 of 4"),
    ]
    with page_stack.running(4):
        browser.run("overview", page_stack.base, tiles=tiles)


@pytest.mark.variant
def test_a_problem_has_its_fix_on_the_overview(browser: Browser, page_stack: Stack) -> None:
    ledger = page_stack.env["FOREBAY_LEDGER_URL"]
    services = '["forebay.compute.v1.compute_pb2"]'
    with page_gateway(ledger, FOREBAY_SERVICES=services) as (_, _, base, _):
        browser.run(
            "problems",
            base,
            subject="queue add",
            description="no live worker consumes it",
            fix="celery -A APP worker -Q add",
        )


@pytest.mark.variant
def test_queues_workers_and_methods_have_their_figures(browser: Browser, page_stack: Stack) -> None:
    queue = {
        "Depth": r"\d+",
        "Waiting": r"[1-9]\d*",
        "Oldest wait": ".+ (ms|s)",
        "Begun a second": r"\d+\.\d+",
        "Workers": "1",
        "Slots busy": "4 of 4",
    }
    worker = {
        "Queues": "echo",
        "Slots busy": "4 of 4",
        "Last seen": ".+ ago",
        "Pool": "thread",
        "Version": version("forebay").replace(".", r"\."),
        "Runs": r"(\s*EchoService\.Detached for .+ (ms|s)\s+\S+){4}",
    }
    method = {"Queue": "echo", "Task": r"echo\.unary", "Policy": "durable.*", "Slots": "4"}
    fleet = "Queues and workers"
    rows = [
        (fleet, "Queues", "echo", queue),
        (fleet, "Workers", WORKER, worker),
        ("Methods", "Methods", "EchoService.Unary", method),
    ]
    with page_stack.running(10):
        browser.run("rows", page_stack.base, rows=rows)


@pytest.mark.variant
def test_calls_are_filtered_by_each_field(browser: Browser, page_stack: Stack) -> None:
    other = page_stack.succeeded
    accepted = page_stack.accepted_at(other)
    eventually(lambda: time.time() > accepted.timestamp() + 2, "the next call is later")
    running = page_stack.started(1)[0]
    between = (accepted + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S")
    browser.run(
        "filters",
        page_stack.base,
        call=running,
        other=other,
        values={
            "State": "ACTIVE",
            "Method": "Detached",
            "Worker": "echo-",
            "Id contains": running[-12:],
            "Since": between,
        },
        none={"Queue": "no-queue", "Until": "2001-01-01T00:00:00"},
    )
    until = {"call": other, "other": running, "values": {"Until": between}}
    browser.run("filters", page_stack.base, **until)
    page_stack.cancel([running])
    cancelled = {"Reason": "CANCELLED", "State": "CANCELLED"}
    browser.run("filters", page_stack.base, call=running, other=other, values=cancelled)


@pytest.mark.variant
def test_items_of_a_call_appear_as_they_come(
    browser: Browser, page_stack: Stack, tmp_path: Path
) -> None:
    call, gate = page_stack.gated(tmp_path / "gate")
    browser.run("followed", page_stack.base, call=call, gate=str(gate))


@pytest.mark.variant
def test_the_keyboard_alone_is_enough(browser: Browser) -> None:
    with running_stack() as stack:  # so many calls would push those of other tests off page one
        stack.many(120)
        browser.run("keyboard", stack.base, running=stack.started(1)[0])


def test_the_libraries_are_those_of_the_lock(driver: Path) -> None:
    packaged = {file.name: file.read_text() for file in TARGET.iterdir()}
    assert packaged == vendored(driver / "node_modules")


@pytest.mark.variant
def test_the_page_works_behind_a_path_prefix(browser: Browser, page_stack: Stack) -> None:
    with prefixed(page_stack.base) as base:
        browser.run("views", base, **shown(page_stack, scheme="light", width=1280))
        browser.run("actions", base, running=page_stack.started(3))


@pytest.mark.variant
def test_a_page_that_is_read_only_offers_nothing_that_changes_something(
    browser: Browser, page_stack: Stack
) -> None:
    ledger = page_stack.env["FOREBAY_LEDGER_URL"]
    with page_gateway(ledger, FOREBAY_PAGE="read-only") as (_, _, base, _):
        browser.run("readOnly", base, call=page_stack.succeeded, method=UNARY)


@pytest.mark.variant
def test_each_sees_what_their_token_permits(
    browser: Browser, page_stack: Stack, tmp_path: Path
) -> None:
    ledger = page_stack.env["FOREBAY_LEDGER_URL"]
    with known_callers(ledger, tmp_path) as known:
        browser.run("identity", known.base, tokens=known.tokens, calls=known.calls)


@pytest.fixture(scope="module")
def base_of_many_calls(page_stack: Stack) -> str:
    page_stack.many(10_000)
    return page_stack.base


@pytest.mark.variant
def test_ten_thousand_calls_are_listed_within_a_second(
    browser: Browser, base_of_many_calls: str
) -> None:
    best = min(
        (browser.run("manyCalls", base_of_many_calls, count=10_000) for _ in range(3)),
        key=lambda took: took["open"] + took["older"],
    )
    assert best["open"] < 1000
    assert best["older"] < 1000


@pytest.mark.variant
def test_a_list_of_ten_thousand_calls_stays_smooth(
    browser: Browser, base_of_many_calls: str
) -> None:
    """No task takes 50 ms of CPU, and half of the frames or more come at 30 Hz."""
    took = browser.run("smoothList", base_of_many_calls, seconds=6)
    assert len(took["frames"]) > 50
    assert median(took["frames"]) < 34
    assert 0 < took["tasks"][0] < 50, took["tasks"]


def test_the_parts_that_only_compute(driver: Path) -> None:
    env = environment(PAGE=str(TARGET.parent))
    run("node", "--test", "pure.test.mjs", env=env, cwd=driver).succeeded()
