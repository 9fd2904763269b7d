"""The recipes of clients/shell, run as in their README."""

from __future__ import annotations

import base64
import json
import math
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from grpc import StatusCode

from tests.commands import Ran, run
from tests.conftest import Up

RECIPES = Path(__file__).parents[2] / "clients" / "shell"
SERVICE = "forebay.compute.v1.ComputeService"

Recipe: TypeAlias = Callable[..., Ran]

_tested: set[str] = set()


def of_recipe(name: str) -> pytest.MarkDecorator:
    """Marks the test of a recipe, which the test gets as its argument `recipe`."""
    _tested.add(name)
    return pytest.mark.parametrize("recipe", [name], indirect=True)


@pytest.fixture
def recipe(up: Up, request: pytest.FixtureRequest) -> Recipe:
    """Runs the recipe with arguments on the gateway of `up`."""
    script = RECIPES / request.param
    env = {**up.env, "FOREBAY_ADDRESS": up.address}
    return lambda *arguments: run(str(script), *arguments, env=env)


def exit_code(status: StatusCode) -> int:
    """The exit code of grpcurl for a status."""
    return 64 + int(status.value[0])


def section(printed: Ran, title: str) -> str:
    """One section of the output of grpcurl -v."""
    match = re.search(
        rf"^{title}:\n(.*?)(?:\n\n|\nSent |\Z)", printed.out, re.DOTALL | re.MULTILINE
    )
    assert match is not None, printed.out
    return match[1]


def metadata(printed: Ran, title: str) -> dict[str, str]:
    """The metadata in a section."""
    return dict(line.split(": ", 1) for line in section(printed, title).splitlines())


def parts(messages: list[Any], part: str) -> list[Any]:
    """The values of the part, of the messages that have it."""
    return [message[part] for message in messages if part in message]


def test_every_recipe_has_a_test_and_a_line_in_the_readme() -> None:
    there = {script.name for script in RECIPES.glob("*.sh")}
    listed = set(re.findall(r"^\| `(\S+\.sh)", (RECIPES / "README.md").read_text(), re.MULTILINE))
    assert there == _tested == listed


@pytest.mark.parametrize("script", sorted(RECIPES.glob("*.sh")), ids=lambda path: path.name)
def test_a_recipe_is_a_posix_script_that_starts_with_a_comment(script: Path) -> None:
    first, second, *_ = script.read_text().splitlines()
    assert (first, second[:2]) == ("#!/bin/sh", "# ")
    assert script.stat().st_mode & 0o111 == 0o111
    assert "${FOREBAY_ADDRESS:-127.0.0.1:50051}" in script.read_text()


@of_recipe("add.sh")
def test_add_prints_the_sum_and_the_trailers_with_the_call_id(recipe: Recipe) -> None:
    printed = recipe().succeeded()
    assert json.loads(section(printed, "Response contents")) == {"sum": 10}
    trailers = metadata(printed, "Response trailers received")
    assert uuid.UUID(trailers["forebay-call-id"]).version == 7
    assert trailers.keys() >= {"forebay-queue-ms", "forebay-run-ms", "forebay-attempts"}


@of_recipe("add-durable.sh")
def test_add_with_the_same_id_attaches_to_the_finished_call(recipe: Recipe) -> None:
    call_id = f"shell-{uuid.uuid4()}"
    for attached in ("new", "finished"):
        printed = recipe(call_id).succeeded()
        assert json.loads(section(printed, "Response contents")) == {"sum": 10}
        headers = metadata(printed, "Response headers received")
        assert (headers["forebay-call-id"], headers["forebay-attached"]) == (call_id, attached)


@of_recipe("factorial.sh")
@pytest.mark.parametrize("n", [0, 100, 1000])
def test_factorial_prints_the_digits(recipe: Recipe, n: int) -> None:
    messages = recipe(str(n)).succeeded().messages
    [header], digits = parts(messages, "header"), "".join(parts(messages, "digits"))
    assert digits == str(math.factorial(n))
    assert header["digit_count"] == str(len(digits))


@of_recipe("factorial-binary.sh")
def test_factorial_in_binary_prints_bytes_in_base64(recipe: Recipe) -> None:
    messages = recipe("1000").succeeded().messages
    whole = b"".join(base64.b64decode(chunk) for chunk in parts(messages, "binary"))
    assert int.from_bytes(whole, "big") == math.factorial(1000)


@of_recipe("factorial-resume.sh")
def test_a_resumed_factorial_continues_after_its_header(recipe: Recipe) -> None:
    messages = recipe(f"shell-{uuid.uuid4()}", "50").succeeded().messages
    items = [message for message in messages if "progress" not in message]
    digits = {"digits": str(math.factorial(50))}
    assert items[0].keys() == {"header"}
    assert items[1:] == [digits, digits]


@of_recipe("matmul-random.sh")
def test_the_same_seed_gives_the_same_product(recipe: Recipe) -> None:
    def values(seed: str) -> list[float]:
        messages = recipe(seed).succeeded().messages
        assert parts(messages, "header") == [
            {"dtype": "DATA_TYPE_FLOAT64", "rows": "3", "cols": "3", "seed": seed}
        ]
        [panel] = parts(messages, "panel")
        return list(panel["values"])

    assert len(values("7")) == 9
    assert values("7") == values("7") != values("8")


@of_recipe("matmul-own.sh")
def test_a_product_of_inline_matrices_is_readable(recipe: Recipe) -> None:
    messages = recipe().succeeded().messages
    assert parts(messages, "header") == [{"dtype": "DATA_TYPE_FLOAT64", "rows": "2", "cols": "2"}]
    assert parts(messages, "panel") == [{"rows": "2", "values": [58, 64, 139, 154]}]


@of_recipe("matmul-own-chunks.sh")
def test_matrices_may_be_sent_as_chunks_from_a_shell(recipe: Recipe) -> None:
    messages = recipe().succeeded().messages
    assert parts(messages, "header") == [{"dtype": "DATA_TYPE_INT32", "rows": "2", "cols": "2"}]
    assert parts(messages, "panel") == [{"rows": "2", "values": [58, 64, 139, 154]}]


@of_recipe("error.sh")
def test_a_bad_request_is_printed_with_its_details(recipe: Recipe) -> None:
    printed = recipe()
    assert (printed.code, printed.out) == (exit_code(StatusCode.OUT_OF_RANGE), "")
    status = json.loads(printed.err)
    assert status["code"] == StatusCode.OUT_OF_RANGE.value[0]
    details = {detail["@type"].rpartition("/")[2]: detail for detail in status["details"]}
    assert details.keys() == {"google.rpc.ErrorInfo", "google.rpc.BadRequest"}
    info = details["google.rpc.ErrorInfo"]
    assert (info["domain"], info["reason"]) == ("forebay", "INVALID_REQUEST")
    [violation] = details["google.rpc.BadRequest"]["field_violations"]
    assert violation["field"] == "n"
    assert status["message"] == f"n {violation['description']}"


@of_recipe("deadline.sh")
def test_a_deadline_ends_the_call(recipe: Recipe) -> None:
    printed = recipe("0.5")
    assert printed.code == exit_code(StatusCode.DEADLINE_EXCEEDED)
    assert "DeadlineExceeded" in printed.err
    assert all(
        0 <= progress.get("fraction", 0) <= 1 for progress in parts(printed.messages, "progress")
    )


@of_recipe("reflection-list.sh")
def test_the_list_has_every_service_and_method(recipe: Recipe) -> None:
    assert recipe().succeeded().out.splitlines() == [
        SERVICE,
        "forebay.v1.CallService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        f"{SERVICE}.Add",
        f"{SERVICE}.Factorial",
        f"{SERVICE}.MatMul",
    ]


@of_recipe("reflection-describe.sh")
def test_a_service_a_method_and_a_message_can_be_described(recipe: Recipe) -> None:
    described = re.findall(r"^(\S+) is an? (\S+):$", recipe().succeeded().out, re.MULTILINE)
    assert described == [
        (SERVICE, "service"),
        (f"{SERVICE}.Factorial", "method"),
        ("forebay.compute.v1.FactorialRequest", "message"),
    ]


@of_recipe("reflection-describe.sh")
@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        (f"{SERVICE}.Factorial", 'task:"factorial_module.tasks.factorial" queue:"factorial"'),
        ("forebay.compute.v1.FactorialRequest.n", "uint64 n = 1;"),
        ("forebay.compute.v1.FactorialResponse.part", "string digits = 3;"),
        ("forebay.compute.v1.DataType", "DATA_TYPE_INT32 = 3;"),
        ("forebay.v1.route", ".forebay.v1.Route route = 50051;"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "NOT_SERVING = 2;"),
        ("google.rpc.ErrorInfo", "string reason = 1;"),
    ],
)
def test_any_symbol_can_be_described(recipe: Recipe, symbol: str, text: str) -> None:
    assert text in recipe(symbol).succeeded().out


@of_recipe("health-check.sh")
@pytest.mark.parametrize("service", [[], [SERVICE]], ids=["overall", "service"])
def test_the_health_is_serving(recipe: Recipe, service: list[str]) -> None:
    assert recipe(*service).succeeded().messages == [{"status": "SERVING"}]


@of_recipe("health-check.sh")
def test_the_health_of_an_unknown_service_is_not_found(recipe: Recipe) -> None:
    assert recipe("no.such.Service").code == exit_code(StatusCode.NOT_FOUND)


@of_recipe("health-watch.sh")
def test_the_health_recipe_ends(recipe: Recipe) -> None:
    assert recipe("1").succeeded().messages == [{"status": "SERVING"}]
