"""The code in the documentation runs and prints what the pages show."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.routes.cache import Cache
from forebay.routes.sources import read_all_methods
from forebay_backends.settings import Settings, load_settings
from forebay_backends.settings.load import given_settings
from tests.certificates import Authority
from tests.commands import run
from tests.conftest import Up
from tests.harness import (
    BIN,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    redis_server,
    short_folder,
)
from tests.otlp import otlp_receiver
from tests.pages import DOCS, ROOT, Reader, blocks
from tests.protoc import descriptor_set
from tests.rabbitmq import RabbitMQ
from tests.redis_fleets import redis_cluster, sentinel_fleet

README = ROOT / "README.md"
DEFAULT_ADDRESS = "127.0.0.1:50051"
OWN_ADDRESS = "127.0.0.1:50052"

OF_WEB_PAGE, FREE = ("127.0.0.1:50053", "127.0.0.1:8081"), "127.0.0.1:0"

ON_THEIR_OWN = (
    "call-ids.md",
    "calls.md",
    "errors.md",
    "live-calls.md",
    "metadata.md",
    "rest.md",
    "retries.md",
    "servicers.md",
    "sse.md",
    "top.md",
    "web.md",
)
FROM_THE_TUTORIAL_ON = (
    "tutorial.md",
    "own-service.md",
    "progress.md",
    "big-payloads.md",
    "deadlines.md",
    "routes.md",
)
ON_DELAYS = ("delayed-calls.md", "on-end.md")
ON_A_FLEET = ("rabbitmq.md", "several-hosts.md")
IN_TESTS_OF_THEIR_OWN = (
    *("install.md", "redis.md", "settings.md", "plain-tasks.md", "testing.md"),
    *("several-applications.md", "import.md", "tls.md", "hardening.md", "coroutines.md"),
    "routes-file.md",  # tests/e2e/test_foreign_services.py
    "go.md",  # tests/e2e/test_go_client.py
    "typescript.md",  # tests/e2e/test_node_client.py
    "other-languages.md",
    "README.md",  # the home page
    *("traces-and-logs.md", "tokens.md", "tenants.md", "operations.md", "caching.md"),
    "identity.md",  # tests/e2e/test_audit.py, tests/unit/gateway/audit/test_entry.py
    *("quotas.md", "operators-page.md"),  # their settings
    *("deployment.md", "proxies.md"),  # tests/e2e/test_deployment.py
    *("monitoring.md", "scaling.md"),  # tests/e2e/test_ops.py
)


@contextmanager
def reader_of_own_gateway(folder: Path) -> Iterator[Reader]:
    """Reads pages whose gateway listens on a free port, and keeps its data in a new folder."""
    address = f"127.0.0.1:{free_port()}"
    with short_folder() as data:
        env = environment(
            FOREBAY_LISTEN=address, FOREBAY_ADDRESS=address, FOREBAY_DATA_DIR=str(data)
        )
        with Reader(folder, env, {DEFAULT_ADDRESS: address}) as reader:
            yield reader


@pytest.mark.parametrize("page", ON_THEIR_OWN)
def test_the_code_of_a_page_gives_the_results_on_the_page(
    up: Up, tmp_path: Path, page: str
) -> None:
    gateways = dict.fromkeys((DEFAULT_ADDRESS, "gateway-1:50051", "gateway-2:50051"), up.address)
    instead = {**gateways, "http://127.0.0.1:8080": up.web, **dict.fromkeys(OF_WEB_PAGE, FREE)}
    env = {**up.env, "FOREBAY_ADDRESS": up.address}
    with Reader(tmp_path, env, instead, running=("forebay up",)) as reader:
        reader.read(DOCS / page)


@pytest.mark.timeout(300)  # some thirty processes, one after the other
def test_the_tutorial_and_the_pages_that_continue_it_give_the_shown_results(
    up: Up, tmp_path: Path
) -> None:
    env = {**up.env, "FOREBAY_ADDRESS": up.address}
    with redis_server() as ledger:
        instead = {
            DEFAULT_ADDRESS: up.address,
            OWN_ADDRESS: f"127.0.0.1:{free_port()}",
            "redis://localhost:6379/0": ledger,
        }
        with Reader(tmp_path, env, instead, running=("forebay up",)) as reader:
            for page in FROM_THE_TUTORIAL_ON:
                reader.read(DOCS / page)


@pytest.mark.variant
def test_a_fleet_with_rabbitmq_is_set_up_as_the_pages_say(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    here = f"127.0.0.1:{free_port()}"
    # One gateway stands in for all gateways of the page: on loopback it serves what the last does.
    gateways = (
        "0.0.0.0:50051 --insecure",
        "gateway-1.internal:50051",
        "gateway-2.internal:50051",
        OWN_ADDRESS,
    )
    with redis_server() as ledger:
        instead = {
            **dict.fromkeys(gateways, here),
            "redis://redis.internal:6379/0": ledger,
            "amqp://user:password@rabbit.internal//": rabbitmq.url("docs"),
        }
        with Reader(tmp_path, environment(), instead) as reader:
            for page in ON_A_FLEET:
                reader.read(DOCS / page)


@pytest.mark.variant
def test_calls_start_later_and_a_task_is_told_of_their_ends_as_the_pages_say(
    tmp_path: Path,
) -> None:
    with reader_of_own_gateway(tmp_path) as reader:
        for page in ON_DELAYS:
            reader.read(DOCS / page)
        started: list[str] = []

        def beat_has_started_calls() -> bool:
            listed = run("forebay", "ps", "--state", "succeeded", env=reader.env).succeeded()
            started[:] = re.findall(r"^periodic-(\d+)\t", listed.out, re.MULTILINE)
            return len(started) >= 2

        eventually(beat_has_started_calls, "beat starts calls")
        assert all(int(one) % 2 == 0 for one in started)
        assert len(started) == len(set(started))


def test_an_application_is_imported_as_the_page_says(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with redis_server() as url:
        instead = {DEFAULT_ADDRESS: address, "redis://localhost:6379/0": url}
        with Reader(tmp_path, environment(FOREBAY_ADDRESS=address), instead) as reader:
            reader.read(DOCS / "import.md")


def test_spans_and_lines_of_a_call_are_as_the_page_says(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with short_folder() as data, otlp_receiver() as receiver:
        env = environment(
            FOREBAY_LISTEN=address, FOREBAY_ADDRESS=address, FOREBAY_DATA_DIR=str(data)
        )
        instead = {"127.0.0.1:4317": f"127.0.0.1:{receiver.grpc_port}"}
        with Reader(tmp_path, env, instead) as reader:
            reader.read(DOCS / "traces-and-logs.md")
        spans = {span.kind: span for span in receiver.spans}
    names = ["hello.Hello/Count", "send hello", "process hello", "count"]
    tree = [spans[kind] for kind in ("SERVER", "PRODUCER", "CONSUMER", "INTERNAL")]
    assert [span.name for span in tree] == names
    assert [span.parent for span in tree[1:]] == [span.id for span in tree[:-1]]


@pytest.mark.variant
def test_a_key_is_made_and_used_as_the_page_says(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with short_folder() as data:
        env = environment(FOREBAY_LISTEN=address, FOREBAY_DATA_DIR=str(data))
        with Reader(tmp_path, env, {DEFAULT_ADDRESS: address}) as reader:
            reader.read(DOCS / "tokens.md", "API keys")


@pytest.mark.variant
def test_two_tenants_see_their_own_calls_as_the_page_says(tmp_path: Path) -> None:
    with reader_of_own_gateway(tmp_path) as reader:
        reader.read(DOCS / "tenants.md")


@pytest.mark.variant
def test_a_method_returns_an_operation_as_the_page_says(tmp_path: Path) -> None:
    with reader_of_own_gateway(tmp_path) as reader:
        reader.read(DOCS / "operations.md")


@pytest.mark.variant
def test_identical_calls_share_runs_as_the_page_says(tmp_path: Path) -> None:
    with reader_of_own_gateway(tmp_path) as reader:
        reader.read(DOCS / "caching.md")
    (method,) = read_all_methods(
        [str(descriptor_set((tmp_path / "report.proto").read_text(), tmp_path))]
    )
    assert method.route.cache == Cache(600.0, ignore_fields=("trace_label",))


@pytest.mark.parametrize("page", ["identity.md", "quotas.md", "operators-page.md"])
def test_the_settings_of_a_page_are_valid(page: str) -> None:
    tables = [block.text for block in blocks(DOCS / page) if block.language == "toml"]
    assert tables
    for text in tables:
        given_settings(**tomllib.loads(text))


@pytest.mark.variant
def test_a_gateway_is_secured_as_the_page_says(tmp_path: Path) -> None:
    with reader_of_own_gateway(tmp_path) as reader:
        reader.read(DOCS / "tls.md")


def test_the_readme_imports_an_application_as_the_page_does() -> None:
    (command,) = [block.text for block in blocks(README) if block.text.startswith("forebay import")]
    shown = [block.text for block in blocks(DOCS / "import.md")]
    assert any(
        command.replace("mypkg.app", "shop").replace("app.p", "shop.p") in text for text in shown
    )


def test_a_ledger_behind_sentinel_is_set_up_as_the_page_says(tmp_path: Path) -> None:
    with sentinel_fleet() as fleet:
        instead = {
            "sentinel://sentinel-1.internal:26379,sentinel-2.internal:26379/mymaster/0": fleet.url()
        }
        gateway_starts(tmp_path, "Follow a failover with Sentinel", instead)


def test_a_ledger_in_a_cluster_is_set_up_as_the_page_says(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    with redis_cluster(masters=1, replicas=0) as cluster:
        instead = {
            "redis-cluster://node-1.internal:7000,node-2.internal:7001": cluster.url,
            "amqp://user:password@rabbit.internal//": rabbitmq.url("docs"),
        }
        gateway_starts(tmp_path, "Keep the ledger in a Redis Cluster", instead)


def test_a_private_ca_is_set_up_as_the_page_says(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client")
    with redis_server() as ledger:
        instead = {  # servers with TLS are in test_backend_security: here the files are read
            "client.pem": str(client.certificate),
            "client.key": str(client.key),
            "ca.pem": str(authority.ca),
            "rediss://redis.internal:6379/0": ledger,
            "amqps://user:password@rabbit.internal//": rabbitmq.url("docs"),
        }
        gateway_starts(tmp_path, "Trust a private CA", instead)


def test_a_shared_redis_is_set_up_as_the_page_says(tmp_path: Path) -> None:
    with redis_server() as url, closing(redis.Redis.from_url(url)) as admin:
        instead = {"redis://redis.internal:6379/0": url.replace("://", "://app:password@")}
        reader = Reader(tmp_path, environment(), instead)
        (rules,) = [block for block in blocks(DOCS / "redis.md") if block.title == "users.acl"]
        admin.execute_command("ACL", "SETUSER", *rules.text.split()[1:])
        reader.read(DOCS / "redis.md", "Share a Redis with other applications")
        assert_healthy(reader.env)


def test_backends_are_hardened_as_the_page_says(tmp_path: Path) -> None:
    with redis_server() as url:
        reader = Reader(tmp_path, environment(FOREBAY_LEDGER_URL=url), {})
        for section in ("Signed messages", "Least rights"):
            reader.read(DOCS / "hardening.md", section)
        keys = tmp_path / reader.env["FOREBAY_SIGNING_KEYS"]
        assert keys.stat().st_mode & 0o077 == 0
        assert_healthy({**reader.env, "FOREBAY_SIGNING_KEYS": str(keys)})


def gateway_starts(folder: Path, section: str, instead: dict[str, str]) -> None:
    """Follows a section of redis.md, and starts a gateway with what was exported."""
    reader = Reader(folder, environment(), instead)
    reader.read(DOCS / "redis.md", section)
    assert_healthy(reader.env)


def assert_healthy(env: dict[str, str]) -> None:
    """A gateway with these variables reports that its backends answer."""
    with (
        forebay_gateway(env=env) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        check: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        serving = health_pb2.HealthCheckResponse.SERVING
        eventually(
            lambda: check.Check(health_pb2.HealthCheckRequest()).status == serving, "it serves"
        )


def test_code_of_other_languages_has_the_names_that_the_page_says(tmp_path: Path) -> None:
    if shutil.which("protoc") is None:
        missing = "protoc is not installed (Debian: apt-get install protobuf-compiler)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with Reader(tmp_path, environment(), {}) as reader:
        reader.read(DOCS / "other-languages.md")
    for path, declared in (
        ("java/forebay/compute/v1/AddRequest.java", "package forebay.compute.v1;"),
        ("csharp/Compute.cs", "namespace Forebay.Compute.V1 {"),
        ("ruby/forebay/compute/v1/compute_pb.rb", "    module V1\n      AddRequest ="),
        ("php/Forebay/Compute/V1/AddRequest.php", r"namespace Forebay\Compute\V1;"),
        ("objc/forebay/compute/v1/Compute.pbobjc.h", "@interface FBCAddRequest :"),
        ("cpp/forebay/compute/v1/compute.pb.h", "namespace forebay {\nnamespace compute {"),
    ):
        assert declared in (tmp_path / path).read_text(), path


def test_every_page_with_something_to_run_is_read() -> None:
    pages = {page.name for page in DOCS.glob("*.md") if "```" in page.read_text()}
    fences = {page: len(re.findall(r"^ *```", (DOCS / page).read_text(), re.M)) for page in pages}
    assert {page: 2 * len(list(blocks(DOCS / page))) for page in pages} == fences
    read = (*ON_THEIR_OWN, *FROM_THE_TUTORIAL_ON, *ON_A_FLEET, *ON_DELAYS, *IN_TESTS_OF_THEIR_OWN)
    assert pages == set(read)


def programs() -> list[str]:
    texts = [block.text for block in blocks(README) if block.language == "python"]
    return [text for text in texts if DEFAULT_ADDRESS in text]


def commands() -> list[str]:
    """The README's shell lines that make calls; those that start servers are tested elsewhere."""
    shells = [block.text for block in blocks(README) if block.language == "sh"]
    lines = [line for text in shells for line in text.splitlines()]
    return [
        line
        for line in lines
        if re.match(r"grpcurl|\.venv/bin/forebay (call|ps|queues|routes|doctor)", line)
    ]


@pytest.mark.parametrize("number", range(len(programs())))
def test_a_program_of_the_readme_runs(up: Up, number: int) -> None:
    program = programs()[number].replace(DEFAULT_ADDRESS, up.address)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=up.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10.0")


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_runs(up: Up, command: str) -> None:
    words = shlex.split(
        command.replace(".venv/bin/", f"{BIN}/").replace(DEFAULT_ADDRESS, up.address)
    )
    if words[1] in ("call", "ps", "queues"):
        words[2:2] = ["--target", up.address]
    if words[1] == "doctor":
        words += ["--listen", up.address]
    done = subprocess.run(
        words, env=up.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_service_of_the_readme_answers_as_shown(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with short_folder() as data:
        env = environment(
            FOREBAY_LISTEN=address, FOREBAY_ADDRESS=address, FOREBAY_DATA_DIR=str(data)
        )
        with Reader(tmp_path, env, {DEFAULT_ADDRESS: address}) as reader:
            reader.read(README, "Example")


@pytest.mark.variant
def test_coroutine_handlers_run_as_the_page_says(tmp_path: Path) -> None:
    with reader_of_own_gateway(tmp_path) as reader:
        for section in ("Example", "Pools"):
            reader.read(DOCS / "coroutines.md", section)


def test_the_home_page_shows_the_example_of_the_readme() -> None:
    shown, run_above = (
        [(block.title, block.text) for block in blocks(page, "Example")]
        for page in (DOCS / "README.md", README)
    )
    assert shown == run_above


def test_the_demo_prints_what_the_readme_shows() -> None:
    shown = next(
        block.text
        for block in blocks(README, "Install from a clone")
        if block.text.startswith("forebay is up")
    )
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=True,
    )
    printed = {_without_figures(line) for line in done.stdout.splitlines()}
    assert {_without_figures(line) for line in shown.splitlines()} - printed == set()


def _without_figures(line: str) -> str:
    """The line without the parts that differ from run to run: port, times, seed and product."""
    line = re.sub(r"\[\[.*\]\]", "[[…]]", line)
    return re.sub(r":\d{4,5}\b|\d+\.\d s|seed \d+|sha256 \w+|\(\d+ characters", "#", line)


def test_the_readme_shows_what_a_call_prints(up: Up) -> None:
    (shown,) = (
        b.text for b in blocks(README, "Install from a clone") if b.text.startswith('{"header"')
    )
    command = [BIN / "forebay", "call", "--target", up.address, "Factorial", "n=30"]
    assert subprocess.check_output(command, env=up.env, text=True, timeout=60) == shown


def test_the_readme_shows_the_tested_commands() -> None:
    assert len(programs()) == 2
    assert len(commands()) == 5


def test_every_setting_is_documented_with_its_default() -> None:
    page = (DOCS / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `FOREBAY_\w+` \| (.*?) \|", page, re.MULTILINE))
    assert rows.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, (int, float, str)):
            assert rows[name] == f"`{default}`"


def test_the_documented_settings_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Reader(tmp_path, {}, {}) as reader:
        reader.read(DOCS / "settings.md")
    settings = load_settings()
    assert settings.ledger_url == "redis://redis.internal:6379/0"
    assert settings.backends().broker_url.startswith("amqp://")
    assert settings.checks["forebay.compute.v1.ComputeService.MatMul"]
    for name, value in reader.env.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.checks["forebay.compute.v1.ComputeService.Factorial"] == {"max_n": 1000}
    assert settings.exceptions[0].fits("NoSuchOrder", "shop.errors")


@pytest.mark.variant
def test_several_applications_are_set_up_as_the_page_says(tmp_path: Path) -> None:
    with Reader(tmp_path, environment(), {}) as reader:
        reader.read(DOCS / "several-applications.md")
        for name in ("SHOP__BROKER_URL", "MAIL__RESULT_URL"):
            assert f"FOREBAY_APPLICATIONS__{name}" in reader.env
        shown = run("forebay", "routes", env={**reader.env, "COLUMNS": "250"}, cwd=tmp_path).out
        assert "plain task of shop" in shown
        assert "plain task of mail" in shown


def test_the_page_on_calls_lists_every_command() -> None:
    page = (DOCS / "calls.md").read_text()
    commands = set(re.findall(r"^\| `forebay (\w+)", page, re.MULTILINE))
    of_calls = {"ps", "wait", "cancel", "logs", "queues", "workers", "errors", "top"}
    assert commands == {*of_calls, "describe"}


def test_the_picture_of_the_folders_has_all_of_them() -> None:
    picture = (DOCS / "architecture-folders.svg").read_text()
    packages = ("gateway", "workers", "backends", "clients/python")
    folders = {
        file.parent.name for package in packages for file in ROOT.glob(f"{package}/*/*/*.py")
    }
    assert {"durable", "handler", "ledger", "resume"} < folders
    assert [name for name in sorted(folders - {"new"}) if f"{name}/" not in picture] == []


def test_every_path_of_the_contributors_guide_exists() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", page)
    assert "backends/forebay_backends/settings/" in paths
    assert [path for path in paths if path != "site/" and not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("examples/*/*.md")]
)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_dependency_has_its_line() -> None:
    page = (DOCS / "dependencies.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^\w+ = \[(.*?)\]$", project, re.MULTILINE | re.DOTALL)
    names = {
        match
        for text in lists
        for match in re.findall(r'"([a-zA-Z][\w-]*)(?:\[[\w,]+\])?[>=][^"]*"', text)
    }
    assert {"grpcio", "celery", "numpy"} <= names
    assert {name for name in names if name not in page} == set()
