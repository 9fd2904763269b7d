"""What the operators' port serves to browsers, and to whom: without a browser."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.known_callers import known_callers
from tests.browser.stack import HOSTILE, SERVICE, Stack, get, page_gateway, post
from tests.certificates import Authority, TlsFiles
from tests.harness import eventually, redis_server

OPERATIONS, CALLS = "google.longrunning.Operations", "forebay.v1.CallService"


def test_every_file_has_the_strict_policy_and_names_no_other_address(page_stack: Stack) -> None:
    waiting, seen = ["/"], set[str]()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        file = get(page_stack.base, path)
        assert file.status == 200, path
        policy = file.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert {
            *("frame-ancestors 'none'", "base-uri 'none'", "connect-src 'self'"),
            *("require-trusted-types-for 'script'", "trusted-types 'none'"),
        } <= set(policy.split("; "))
        assert "unsafe" not in policy
        assert file.headers["x-content-type-options"] == "nosniff"
        assert get(page_stack.base, path, if_none_match=file.headers["etag"]).status == 304
        if "/vendor/" in path:
            continue
        assert not re.search(r"""["'(](/[a-z]|https?://(?!connectrpc|www.w3))""", file.text), path
        folder = path.rpartition("/")[0]
        found = re.findall(r'(?:src|href)="(static/[^"]+)"', file.text) if path == "/" else []
        found += re.findall(r'(?:from|import) "\./([^"]+)"', file.text)
        waiting += [f"{folder}/{one}" for one in found if f"{folder}/{one}" not in seen]
    assert len(seen) > 20


def test_the_page_has_no_script_of_its_own(page_stack: Stack) -> None:
    page = get(page_stack.base, "/").text
    assert re.findall(r"<script[^>]*>[^<]|<style| on[a-z]+=| style=", page) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "attacker.example"}, 403),
        ({"host": "attacker.example:50052"}, 403),
        ({"origin": "https://attacker.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "multipart/form-data"}, 415),
        ({}, 200),
        ({"host": "localhost:1"}, 200),
    ],
)
def test_a_page_of_another_site_can_send_nothing(
    page_stack: Stack, headers: dict[str, str], status: int
) -> None:
    assert post(page_stack.base, f"{CALLS}/WhoAmI", **headers).status == status
    if status == 403:
        assert get(page_stack.base, "/", **headers).status == 403


def test_probes_and_metrics_are_served_under_any_name(page_stack: Stack) -> None:
    for path in ("/healthz", "/metrics"):
        assert get(page_stack.base, path, host="scraper.example").status == 200


def test_errors_are_listed_with_their_latest_calls(page_stack: Stack) -> None:
    of_unary = {"method": f"{SERVICE}.Unary"}
    found = post(page_stack.base, f"{CALLS}/ListErrors", of_unary).json
    assert found["processes"] == 1
    [error] = [one for one in found["errors"] if one["code"] == 9 and HOSTILE in one["message"]]
    assert error["calls"] == [page_stack.failed]
    assert error["reason"] == "HANDLER_ABORTED"
    none = post(page_stack.base, f"{CALLS}/ListErrors", {"method": "none"})
    assert none.json == {"processes": 1}
    refused = post(page_stack.base, f"{CALLS}/ListErrors", {"parent": "calls"})
    assert (refused.status, refused.json["code"]) == (400, "invalid_argument")
    assert refused.json["message"].startswith("parent is 'calls'")


def test_a_call_tells_the_size_of_its_requests_and_its_metadata_while_it_runs(
    page_stack: Stack,
) -> None:
    def metadata(name: str) -> Any:
        return post(page_stack.base, f"{OPERATIONS}/GetOperation", {"name": name}).json["metadata"]

    ended = metadata(page_stack.succeeded)
    assert ended["requestCount"] == "1"
    assert int(ended["requestBytes"]) > len(HOSTILE)
    assert "requestMetadata" not in ended
    with page_stack.with_hostile_metadata() as name:
        [entry] = metadata(name)["requestMetadata"]
    assert (entry["key"], b64decode(entry["value"]).decode()) == ("x-wish", HOSTILE)


def test_a_method_is_described_with_all_that_it_needs(page_stack: Stack) -> None:
    method = {"method": f"{SERVICE}.ServerStream"}
    found = post(page_stack.base, f"{CALLS}/DescribeMethod", method).json
    assert found["serverStreaming"] is True
    files = found["files"]["file"]
    [service] = files[-1]["service"]
    assert [one["name"] for one in service["method"]] == ["ServerStream"]
    names = [one["name"] for one in files]
    for number, file in enumerate(files):
        assert set(file.get("dependency", [])) <= set(names[:number])
    unknown = post(page_stack.base, f"{CALLS}/DescribeMethod", {"method": "no.Such"})
    assert (unknown.status, unknown.json["code"]) == (501, "unimplemented")


def test_problems_are_listed_with_their_fixes(tmp_path: Path) -> None:
    def problems() -> Any:
        return post(base, f"{CALLS}/ListProblems").json.get("problems", [])

    nearly_over = (timedelta(days=-10), timedelta(hours=5))
    issued = Authority(tmp_path).issue("server", "127.0.0.1", valid=nearly_over)
    tls = TlsFiles(tmp_path, issued).variables()
    with redis_server() as url, page_gateway(url, **tls) as (_, _, base, _):
        subjects = ["queue echo", "tls"]
        eventually(lambda: [one["subject"] for one in problems()] == subjects, "the problems")
        queue, certificate = problems()
    assert queue["description"] == "no live worker consumes it"
    assert queue["fix"].startswith("celery -A APP worker -Q echo")
    assert certificate["description"] == "the gateway's certificate expires in 4 hours"
    assert certificate["fix"].startswith("renew it")


@pytest.fixture(scope="module")
def read_only(page_stack: Stack) -> Iterator[str]:
    """The base of a page that is read-only."""
    ledger = page_stack.env["FOREBAY_LEDGER_URL"]
    with page_gateway(ledger, FOREBAY_PAGE="read-only") as (_, _, base, _):
        yield base


def test_a_read_only_page_is_held_by_the_server(page_stack: Stack, read_only: str) -> None:
    name = {"name": page_stack.succeeded}
    for method, request in (
        (f"{OPERATIONS}/CancelOperation", name),
        (f"{OPERATIONS}/DeleteOperation", name),
        (f"{SERVICE}/Unary", {"text": "t"}),
        (f"{SERVICE}/QuickAgain", {"text": "t"}),
    ):
        refused = post(read_only, method, request)
        assert (refused.status, refused.json["code"]) == (403, "permission_denied"), method
        assert "read-only" in refused.json["message"]
    assert post(read_only, f"{OPERATIONS}/GetOperation", name).status == 200
    assert post(read_only, f"{CALLS}/ListQueues").status == 200


@pytest.mark.variant
def test_without_the_page_the_port_has_metrics_and_no_rpcs_for_browsers(page_stack: Stack) -> None:
    ledger = page_stack.env["FOREBAY_LEDGER_URL"]
    with page_gateway(ledger, FOREBAY_PAGE="off") as (_, _, base, _):
        assert get(base, "/").status == 404
        assert get(base, "/static/app.js").status == 404
        assert post(base, f"{CALLS}/WhoAmI").status == 404
        assert get(base, "/healthz").status == 200


@pytest.mark.variant
def test_a_name_of_a_proxy_is_answered_where_the_settings_have_it(page_stack: Stack) -> None:
    ledger = page_stack.env["FOREBAY_LEDGER_URL"]
    with page_gateway(ledger, FOREBAY_PAGE_HOSTS='["ops.example"]') as (_, _, base, _):
        own = {"host": "ops.example", "origin": "https://ops.example"}
        assert post(base, f"{CALLS}/WhoAmI", **own).status == 200
        assert post(base, f"{CALLS}/WhoAmI", host="other.example").status == 403


@pytest.mark.variant
def test_several_processes_add_up_their_errors_and_share_them_with_nobody_else(
    page_stack: Stack,
) -> None:
    ledger = page_stack.env["FOREBAY_LEDGER_URL"]
    with page_gateway(ledger, FOREBAY_PROCESSES="2") as (_, _, base, _):
        failing = {"status": {"code": 5, "message": "gone"}}
        for _ in range(8):  # each on a connection of its own, so both processes get some
            post(base, f"{SERVICE}/Unary", failing)

        def listed() -> Any:
            return post(base, f"{CALLS}/ListErrors").json

        eventually(lambda: listed()["processes"] == 2, "both processes answer")
        [error] = listed()["errors"]
        assert error["count"] == "8"
        for name in ("errors", "activity"):
            path = f"/shared/{name}?first=0"
            assert get(base, path).status == 404
            assert get(base, path, forebay_process_proof="guess").status == 404


@pytest.mark.variant
def test_each_rpc_needs_its_permission_and_tenants_see_their_own(
    page_stack: Stack, tmp_path: Path
) -> None:
    with known_callers(page_stack.env["FOREBAY_LEDGER_URL"], tmp_path) as known:

        def status(caller: str, method: str, request: dict[str, str] | None = None) -> int:
            token = f"Bearer {known.tokens[caller]}"
            return post(known.base, f"{CALLS}/{method}", request, authorization=token).status

        assert post(known.base, f"{CALLS}/ListErrors").status == 401
        assert status("viewer", "ListErrors") == 403
        assert status("acme", "ListErrors") == 200
        assert status("acme", "ListErrors", {"parent": "tenants/umbrella/operations"}) == 403
        assert status("operator", "ListErrors", {"parent": "tenants/-/operations"}) == 200
        assert status("acme", "ListProblems") == 403
        assert status("viewer", "ListProblems") == 200
        described = {"method": f"{SERVICE}.Unary"}
        assert status("acme", "DescribeMethod", described) == 200
        assert status("viewer", "DescribeMethod", described) == 501
        token = f"Bearer {known.tokens['viewer']}"
        assert post(known.base, f"{SERVICE}/Unary", {}, authorization=token).status == 403
        token = f"Bearer {known.tokens['umbrella']}"
        errors = post(known.base, f"{CALLS}/ListErrors", authorization=token).json["errors"]
        assert {one["tenant"] for one in errors} == {"umbrella"}
        everyone = post(
            *(known.base, f"{CALLS}/ListErrors", {"parent": "tenants/-/operations"}),
            authorization=f"Bearer {known.tokens['operator']}",
        ).json["errors"]
        assert {one["tenant"] for one in everyone} == {"acme", "umbrella"}
