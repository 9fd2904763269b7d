"""`forebay import`: signatures of tasks become methods, and the file compiles whatever is in it."""

from __future__ import annotations

import inspect
import keyword
import subprocess
from collections.abc import Callable
from dataclasses import make_dataclass
from enum import Enum
from functools import partial, wraps
from pathlib import Path
from typing import Any, NoReturn

import pytest
from google.protobuf import descriptor_pb2

from forebay.cli.protos import include_path
from forebay_gateway.cli.import_app.proto import Rpc
from forebay_gateway.cli.import_app.render import render
from forebay_gateway.cli.import_app.routes import make_rpcs
from forebay_gateway.cli.import_app.signatures import Task, read_task
from tests.harness import BIN
from tests.protoc import descriptor_set

OMITTED = "OMITTED"


def rpc_of(run: Callable[..., Any]) -> Rpc:
    (rpc,) = make_rpcs([read_task("t.run", "q", run)])
    return rpc


def by_name(a: int, b: int = 2, *, c: int = 3) -> None: ...


def positional_only(a: int, b: int = 2, /, c: int = 3) -> None: ...


def variadic(a: int, b: int = 2, *args: int, c: int = 3, **kwargs: int) -> None: ...


def anything(*args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("run", "positional", "args", "kwargs", "unset"),
    [
        (by_name, (), "", "", ["", "", ""]),
        (positional_only, ("a", "b"), "", "", ["", OMITTED, ""]),
        (variadic, ("a", "b"), "args", "kwargs", ["", OMITTED, "", "", ""]),
        (anything, (), "args", "kwargs", ["", ""]),
    ],
)
def test_a_route_passes_each_parameter_as_the_task_takes_it(
    run: Callable[..., Any], positional: tuple[str, ...], args: str, kwargs: str, unset: list[str]
) -> None:
    rpc = rpc_of(run)
    assert (rpc.positional, rpc.args, rpc.kwargs) == (positional, args, kwargs)
    assert [field.unset for field in rpc.request.fields] == unset


def test_arguments_of_any_number_are_a_list_and_a_map() -> None:
    text = render([rpc_of(variadic)], "t", "T", "", "")
    assert "repeated int64 args = 3;" in text
    assert "map<string, int64> kwargs = 5;" in text
    text = render([rpc_of(anything)], "t", "T", "", "")
    assert "repeated google.protobuf.Value args = 1;" in text
    assert "google.protobuf.Struct kwargs = 2;" in text


def test_a_method_has_the_route_of_its_task() -> None:
    text = render([rpc_of(variadic)], "t.v1", "T", "A file.", "A service.")
    assert text.startswith("""\
// A file.
syntax = "proto3";

package t.v1;

import "forebay/v1/plain.proto";
import "forebay/v1/route.proto";

// A service.
service T {
  // Calls the task t.run.
  rpc Run(RunRequest) returns (RunResponse) {
    option (forebay.v1.route) = {
      task: "t.run"
      queue: "q"
      plain: {positional: ["a", "b"], args: "args", kwargs: "kwargs"}
    };
  }
}

// The arguments of t.run.
message RunRequest {
""")


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return run


class Callables:
    """Functions of other kinds."""

    def method(self, a: int) -> str: ...  # type: ignore[empty-body]

    def __call__(self, a: int) -> str: ...  # type: ignore[empty-body]


def test_a_signature_is_read_through_wrappers() -> None:
    expected = read_task("t", "q", Callables().method)
    assert [(one.name, one.annotation) for one in expected.parameters] == [("a", int)]
    assert expected.returns is str
    for run in (wrapped(Callables().method), Callables(), partial(by_name, 1, c=5)):
        task = read_task("t", "q", run)
        assert all(one.annotation is int for one in task.parameters), run
    assert [one.name for one in read_task("t", "q", partial(by_name, 1)).parameters] == ["b", "c"]


def test_names_of_an_enclosing_function_are_resolved() -> None:
    class Local:
        pass

    def run(it: Local) -> Any:
        return Local

    assert read_task("t", "q", run).parameters[0].annotation is Local


def test_a_function_without_a_signature_takes_anything() -> None:
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(dict)
    rpc = rpc_of(dict)
    assert (rpc.args, rpc.kwargs) == ("args", "kwargs")


@pytest.mark.parametrize("returns", [None, NoReturn])
def test_a_task_without_a_result_has_an_empty_response(returns: Any) -> None:
    rpc = make_rpcs([Task("t", "q", (), returns)])[0]
    assert (rpc.response.fields, rpc.result) == ([], "")


def test_the_order_of_tasks_does_not_matter() -> None:
    tasks = [read_task(name, "q", by_name) for name in ("b.x", "a.x", "c")]
    assert make_rpcs(tasks)[0].task == "a.x"
    assert [rpc.name for rpc in make_rpcs(tasks)] == ["AX", "BX", "C"]
    texts = {render(make_rpcs(some), "t", "T", "", "") for some in (tasks, tasks[::-1])}
    assert len(texts) == 1


WORDS = (
    *("message", "optional", "required", "repeated", "oneof", "reserved", "map", "stream"),
    *("extensions", "group", "rpc", "returns", "to", "max", "inf", "nan", "true", "false"),
    *("package", "option", "enum", "service", "syntax", "extend", "weak", "public", "double"),
    *("string", "bytes", "bool", "int32", "edition", "export", "local", "default", "class_"),
    *("from_", "None_", "self", "cls", "DESCRIPTOR", "foo_1", "foo1", "Foo1", "fooBar", "foo_bar"),
    *("_x", "__y", "ключ", "名"),
)
TASKS = ("a.None", "None", "2fa", "!!!", ".", "a..b", "имя", "a-b", "a_b", 'quo"te\\', "new\nline")


def difficult_tasks() -> list[Task]:
    """Tasks whose names, and those of their types, can't stay as they are in protobuf."""
    words = make_dataclass("RunRequest", [(word, str) for word in WORDS])
    service = make_dataclass("TService", [("it", words)])
    inner = Enum("Inner", {"A": 1})  # type: ignore[misc]
    outer = Enum("INNER_A", {"UNSPECIFIED": "x", "unspecified": 'quo"te\\', "ключ": "é"})  # type: ignore[misc]

    def run(it: words, other: service, a: inner, b: outer) -> None: ...  # type: ignore[valid-type]

    run.__annotations__ = {"it": words, "other": service, "a": inner, "b": outer, "return": None}
    nothing = [read_task(name, "q", by_name) for name in TASKS]
    assert not any(keyword.iskeyword(word) for word in WORDS)
    return [read_task("a.run", "q", run, "Quotes */ of\x00 odd // kinds:\n\n    é"), *nothing]


@pytest.mark.parametrize("package", ["t.v1", "t.google.v1", "google.forebay.v1", "message.v1"])
def test_a_file_with_difficult_names_compiles(tmp_path: Path, package: str) -> None:
    tasks = difficult_tasks()
    text = render(make_rpcs(tasks), package, "TService", "A file.", "A service.")
    found = descriptor_set(text, tmp_path, f"{package.replace('.', '/')}/t.proto")
    file = descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes()).file[-1]
    assert len(file.service[0].method) == len(tasks)


def test_bufs_rules_hold(tmp_path: Path) -> None:
    text = render(make_rpcs(difficult_tasks()), "t.v1", "TService", "A file.", "A service.")
    (tmp_path / "t/v1").mkdir(parents=True)
    (tmp_path / "t/v1/t.proto").write_text(text)
    (tmp_path / "forebay").symlink_to(include_path() / "forebay")
    done = subprocess.run(
        [BIN / "buf", "lint", "--path", "t", "--config", '{"version": "v2"}'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
