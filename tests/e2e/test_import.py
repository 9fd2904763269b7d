"""`forebay import`: an application is imported, compiled and served, and its tasks are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from forebay.errors import InvalidRequest
from forebay.routes import Method, read_methods
from forebay.routes.sources import Source, read_source
from forebay.rpc_errors import of_rpc_error
from tests.commands import Ran, run
from tests.harness import environment, forebay_gateway, process, redis_server, short_folder
from tests.protoc import descriptor_set

ROOT = Path(__file__).parents[2]
APP = "tests.imported.app:app"
TIMEOUT_S = 60.0


def imported(*arguments: str, cwd: Path = ROOT) -> Ran:
    """Runs the command."""
    return run("forebay", "import", *arguments, env=environment(), cwd=cwd)


@dataclass(frozen=True)
class Shop:
    """The application's worker, and a gateway of what was imported."""

    channel: grpc.Channel
    source: Source

    @property
    def methods(self) -> dict[str, Method]:
        """The methods by their names."""
        return {one.name.rpartition(".")[2]: one for one in read_methods(self.source.services)}

    def call(self, name: str, **fields: Any) -> Any:
        """Calls a method with the fields in JSON; the result in JSON; raises ForebayError."""
        method = self.methods[name]
        stub = self.channel.unary_unary(
            method.path,
            request_serializer=method.request_class.SerializeToString,
            response_deserializer=method.response_class.FromString,
        )
        request = ParseDict(fields, method.request_class(), descriptor_pool=self.source.pool)
        try:
            response = stub(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise of_rpc_error(error) from error
        return MessageToDict(response, descriptor_pool=self.source.pool).get("result")


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with short_folder() as folder, redis_server() as url:
        text = imported(APP, "--package", "shop.v1").succeeded().out
        found = descriptor_set(text, folder)
        env = environment(
            IMPORTED_BROKER_URL=url,
            IMPORTED_RESULT_BACKEND=url,
            FOREBAY_BROKER_URL=url,
            FOREBAY_RESULT_URL=url,
        )
        worker = ["celery", "-A", APP, "worker", "-Q", "imported,reports", "-l", "INFO"]
        options = ["--concurrency", "1", "--without-mingle", "--without-gossip"]
        with (
            process(*worker, *options, env=env, cwd=ROOT) as running,
            forebay_gateway("--service", str(found), env=env) as (_, address),
            grpc.insecure_channel(address) as channel,
        ):
            running.wait_for(r" ready\.")
            yield Shop(channel, read_source(str(found)))


ORDER = {
    "id": "12345678-1234-5678-1234-567812345678",
    "items": [{"sku": "b", "price": "1.50"}, {"sku": "a", "quantity": "3"}],
    "placed": "2026-11-28T10:00:00Z",
}
TREE = {"name": "a", "children": [{"name": "b"}], "aliases": {"c": {"values": [{"name": "d"}]}}}
CUSTOMER = {
    "userId": "12",
    "born": "2001-02-03",
    "awake": "07:30:00",
    "patience": "90s",
    "seen": "2026-11-28T10:00:00Z",
    "balance": "0.10",
    "colour": "COLOUR_RED",
    "token": "é",
    "labels": ["a", "b"],
    "place": {"x": 1.0, "y": 2.0},
}

# A method, the fields of its request, and the result: all in protobuf's JSON.
CALLS: list[tuple[str, dict[str, Any], Any]] = [
    (
        "Scalars",
        {"number": -5, "real": 0.5, "text": "é\n", "data": "/w==", "flag": True},
        ["int", "float", "str", "bytes", "bool", "7"],
    ),
    (
        "Moments",
        {
            "at": "2026-11-28T10:00:00Z",
            "day": "2026-11-28",
            "hour": "10:30:00",
            "lasting": "1.5s",
            "amount": "0.10",
            "key": ORDER["id"],
        },
        {
            "item1": "2026-11-28T10:00:00Z",
            "item2": "2026-11-28",
            "item3": "10:30:00",
            "item4": 1.5,
            "item5": "0.10",
            "item6": ORDER["id"],
        },
    ),
    (
        "Colour",
        {"one": "COLOUR_DARK_BLUE", "urgency": "URGENCY_HIGH", "mode": "COLOUR_MODE_SLOW"},
        "COLOUR_DARK_BLUE",
    ),
    (
        "Collections",
        {
            "names": ["a", "b"],
            "matrix": [{"values": [1, 2]}, {}],
            "byName": {"x": {"values": [1, 2]}, "y": {}},
            "amounts": {"a": "0.10"},
            "pair": {"item1": 5, "item2": "five"},
            "anything": {"deep": [1, None]},
        },
        {"x": {"values": ["1", "2"]}, "y": {}},
    ),
    ("Order", {"order": ORDER, "point": {"x": 1, "y": 2}, "options": {"fast": True}}, ORDER),
    ("Tree", {"root": TREE}, TREE),
    ("Customer", {"customer": CUSTOMER}, {**CUSTOMER, "tags": ["new"], "initial": "1"}),
    ("Variadic", {"first": 1, "only": True}, [1.0, 2.0, [], True, {}]),
    (
        "Variadic",
        {"first": 1, "second": 5, "args": [6, 7], "kwargs": {"a": "b"}},
        [1.0, 5.0, [6.0, 7.0], False, {"a": "b"}],
    ),
    ("ReportsSync", {"limit": 3}, "3"),
    ("ReportsSync", {}, None),
    ("StockSync", {"from": "here", "maxItems": 3}, "here 3 1.0"),
    ("StockSync", {"from": "here", "maxItems": 3, "groe": 0.5}, "here 3 0.5"),
    ("OddName2nd", {"message": {"a": [1.5]}, "either": "x"}, [{"a": [1.5]}, 3.0, None, "x"]),
    ("Nothing", {}, None),
    ("Archive", {"days": 2}, True),
]


@pytest.mark.parametrize(("method", "request_fields", "result"), CALLS)
def test_an_imported_task_takes_and_returns_its_own_types(
    shop: Shop, method: str, request_fields: dict[str, Any], result: Any
) -> None:
    assert shop.call(method, **request_fields) == result


def test_every_imported_task_is_called_here(shop: Shop) -> None:
    assert {method for method, _, _ in CALLS} == shop.methods.keys()


@pytest.mark.parametrize(
    ("method", "request_fields", "field"),
    [
        ("Colour", {}, "one"),
        ("Moments", {"day": "yesterday"}, "day"),
        ("Order", {"order": {"id": "none"}}, "order.id"),
        ("Variadic", {"args": [1]}, "second"),
        ("Variadic", {"kwargs": {"first": "1"}}, "kwargs.first"),
    ],
)
def test_a_request_that_no_python_value_fits_is_refused_by_its_field(
    shop: Shop, method: str, request_fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        shop.call(method, **request_fields)
    assert [violation.field for violation in refused.value.violations] == [field]


GOLDEN = ROOT / "tests" / "imported" / "shop.proto"
"""Made by `forebay import tests.imported.app:app --package shop.v1`."""


def test_the_file_is_the_same_each_time() -> None:
    first, second = (imported(APP, "--package", "shop.v1").succeeded() for _ in range(2))
    assert first.out == second.out == GOLDEN.read_text()


def test_what_is_not_the_file_goes_to_standard_error() -> None:
    done = imported(APP).succeeded()
    assert done.out.startswith("// Routes to the tasks of tests.imported.app:app, made by")
    assert done.out.endswith("}\n")
    said = done.err.splitlines()
    assert said[0] == "the application talks while it is loaded"
    assert said[1] == "13 tasks as tests.v1.TestsService"
    assert said[2] == "any JSON (google.protobuf.Value) in 6 places:"
    assert said[-1] == "  and 1 more; search the file for `Any JSON`"
    assert len(said) <= 10


@pytest.mark.parametrize("path", ["tests.imported.app", "tests.imported.app.app", "tests.imported"])
def test_an_application_is_named_as_for_celery(path: str, tmp_path: Path) -> None:
    here = ROOT
    if path == "tests.imported":  # a package, whose module `celery` has the application
        here = tmp_path
        package = tmp_path / "tests" / "imported"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__init__.py").touch()
        (package / "celery.py").write_text(
            "from celery import Celery\napp = Celery('x', include=['tests.imported.tasks'])\n"
        )
        (package / "tasks.py").write_text(
            "from celery import shared_task\n@shared_task(queue='a')\ndef add(x: int): return x\n"
        )
    done = imported(path, cwd=here).succeeded()
    assert "  rpc " in done.out
    if path == "tests.imported":
        assert 'task: "tests.imported.tasks.add"\n      queue: "a"\n' in done.out


def written(folder: Path, text: str) -> Path:
    (folder / "shop.py").write_text(f"from celery import Celery\n{text}")
    return folder


# An application, or none; what is asked for; what the error says.
REFUSED: list[tuple[str, str, str]] = [
    (
        "",
        "nothing:app",
        "nothing:app: there is no module 'nothing' here; expected MODULE or MODULE",
    ),
    (
        "",
        "shop",
        "shop: module 'shop' has no attribute 'celery'; expected MODULE or MODULE:ATTRIBUTE",
    ),
    ("app = Celery()", "shop:ap", "shop:ap: module 'shop' has no attribute 'ap'; expected MODULE"),
    (
        "app = 5",
        "shop:app",
        "shop:app is of the type int, no Celery application; expected",
    ),
    (
        "import absent",
        "shop",
        "shop can't be loaded: ModuleNotFoundError: No module named 'absent' (",
    ),
    ("1 / 0", "shop", "shop can't be loaded: ZeroDivisionError: division by zero ("),
    ("app = absent", "shop", "shop can't be loaded: NameError: name 'absent' is not defined ("),
    ("exit(3)", "shop", "shop can't be loaded: SystemExit: 3 ("),
    ("app = ", "shop", "shop can't be loaded: SyntaxError: invalid syntax (shop.py, line 2)"),
    (
        "app = Celery(include=['lost'])",
        "shop",
        "shop can't be loaded: ModuleNotFoundError: No modul",
    ),
    ("app = Celery()", "shop", "the application has no tasks; name their modules in its `include`"),
    ("app = Celery()", "shop --package a-b", "--package 'a-b': expected letters, digits and _"),
    ("app = Celery()", "shop --service 1", "--service '1': expected letters, digits and _"),
    (
        "app = Celery()\n@app.task(name='a.b')\ndef f(): pass",
        "shop --include *.x",
        "--include '*.x' matches none of 1 tasks, such as a.b",
    ),
    (
        "app = Celery()\n@app.task(name='a.b')\ndef f(): pass",
        "shop --exclude a.*",
        "--include and --exclude leave none of 1 tasks",
    ),
]


@pytest.mark.parametrize(("text", "asked", "problem"), REFUSED)
def test_what_can_not_be_imported_is_one_clear_line(
    text: str, asked: str, problem: str, tmp_path: Path
) -> None:
    done = imported(*asked.split(), cwd=written(tmp_path, text))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"Error: {problem}"), done.err
    assert len(done.err.splitlines()) == 1, done.err
    if problem.endswith(" ("):
        assert done.err.endswith("shop.py, line 2)\n"), done.err


TASKS = """
from kombu import Exchange, Queue

def router(name, args, kwargs, options, task=None, **more):
    return {"queue": kwargs["region"]} if name == "shop.asks" else None

app = Celery("shop", accept_content=["pickle"], result_serializer="pickle")
app.conf.task_queues = [
    Queue("orders", Exchange("shop"), routing_key="order"), Queue("own"), Queue("celery")
]
app.conf.task_create_missing_queues = False
app.conf.task_routes = [router, {"shop.routed": {"exchange": "shop", "routing_key": "order"}}]
def f(): pass
app.task(name="shop.own", queue="own")(f)
app.task(name="shop.routed")(f)
app.task(name="shop.bound", exchange="shop", routing_key="order")(f)
app.task(name="shop.asks")(f)
app.task(name="shop.other")(f)
"""


def test_a_result_backend_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    text = "app = Celery('shop', backend='nothing://')\n@app.task\ndef f(): pass"
    done = imported("shop", cwd=written(tmp_path, text)).succeeded()
    assert "warning: its result backend can't be used: " in done.err
    assert "Traceback" not in done.err


def queues(text: str) -> dict[str, str]:
    return dict(re.findall(r'task: "(.*)"\n +queue: "(.*)"', text))


def test_a_task_has_the_queue_that_the_application_sends_it_to(tmp_path: Path) -> None:
    done = imported("shop", cwd=written(tmp_path, TASKS)).succeeded()
    assert queues(done.out) == {
        "shop.own": "own",
        "shop.routed": "orders",
        "shop.bound": "orders",
        "shop.asks": "celery",
        "shop.other": "celery",
    }
    assert "warning: the queue of 1 task (shop.asks) depends on the call" in done.err
    for warning in (
        "its workers refuse JSON",
        "its results are pickle",
        "it has no result backend",
    ):
        assert f"warning: {warning}" in done.err


def test_options_choose_tasks_and_names(tmp_path: Path) -> None:
    options = ["--include", "shop.o*", "--include", "shop.b*", "--exclude", "*.other"]
    names = [
        "--package",
        "acme.shop.v2",
        "--service",
        "Front",
        "--queue",
        "all",
        "--application",
        "acme",
    ]
    done = imported("shop", *options, *names, cwd=written(tmp_path, TASKS)).succeeded()
    assert queues(done.out) == {"shop.own": "all", "shop.bound": "all"}
    assert "package acme.shop.v2;\n" in done.out
    assert "service Front {\n" in done.out
    assert done.out.count('plain: {application: "acme", result: "result"}') == 2
    assert "depends on the call" not in done.err
