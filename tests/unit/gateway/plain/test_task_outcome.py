"""The status that callers get for a task's states, exceptions and lost results."""

from __future__ import annotations

import json
import re
import traceback
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2, error_details_pb2

from forebay.errors import ForebayError, ResultUnfit, TooLarge
from forebay.errors.status import to_status
from forebay.routes.plain import ExceptionStatus
from forebay_backends.settings import load_settings
from forebay_gateway.plain.mapping.result_meta import SLACK, read_limited, read_meta
from forebay_gateway.plain.task_outcome import Failed, Progress, Result, outcome
from tests.unit.gateway.plain.mapping.test_mapping import METHODS

ROOT = Path(__file__).parents[4]
DO, DO_AGAIN = METHODS["Do"], METHODS["DoAgain"]
TRACE_OF_CELERY = """Traceback (most recent call last):
  File "/lib/celery/app/trace.py", line 479, in trace_task
    R = retval = fun(*args, **kwargs)
                 ^^^^^^^^^^^^^^^^^^^^
TypeError: add() got an unexpected keyword argument 'z'
"""
TRACE_OF_TASK = TRACE_OF_CELERY.replace(
    "TypeError", '  File "/srv/shop/tasks.py", line 3, in add\n    helper(z=1)\nTypeError'
)


def failure(module: str, name: str, *message: str, traceback: str = "") -> dict[str, Any]:
    result = {"exc_type": name, "exc_message": list(message), "exc_module": module}
    return {"status": "FAILURE", "result": result, "traceback": traceback}


def failed(meta: dict[str, Any], method: Any = DO, **more: Any) -> ForebayError:
    end = outcome(meta, method, **more)
    assert isinstance(end, Failed)
    assert end.note
    return end.error


CELERYS = [
    (failure("celery.exceptions", "NotRegistered", "shop.add"), "UNIMPLEMENTED/TASK_UNKNOWN"),
    (failure("celery.exceptions", "Reject", "no", "False"), "ABORTED/TASK_REJECTED"),
    (
        failure("celery.exceptions", "MaxRetriesExceededError", "x"),
        "ABORTED/TASK_RETRIES_EXCEEDED",
    ),
    (
        failure("billiard.exceptions", "TimeLimitExceeded", "1"),
        "DEADLINE_EXCEEDED/TASK_TIME_LIMIT",
    ),
    (
        failure("billiard.exceptions", "SoftTimeLimitExceeded"),
        "DEADLINE_EXCEEDED/TASK_TIME_LIMIT",
    ),
    (failure("billiard.exceptions", "WorkerLostError", "x"), "ABORTED/WORKER_LOST"),
    (failure("billiard.exceptions", "Terminated", "15"), "CANCELLED/TASK_REVOKED"),
    (failure("kombu.exceptions", "EncodeError", "x"), "INTERNAL/RESULT_UNFIT"),
    (failure("builtins", "TypeError", "x"), "INTERNAL/HANDLER_FAILED"),
    (failure("shop.errors", "TimeLimitExceeded"), "INTERNAL/HANDLER_FAILED"),
    ({"status": "FAILURE", "result": None}, "INTERNAL/HANDLER_FAILED"),
    ({"status": "FAILURE", "result": {"why": "so"}}, "INTERNAL/HANDLER_FAILED"),
]


@pytest.mark.parametrize(("meta", "expected"), CELERYS)
def test_each_of_celerys_own_exceptions_has_a_status(meta: dict[str, Any], expected: str) -> None:
    assert str(failed(meta)).startswith(f"{expected}: ")


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("revoked", "CANCELLED/TASK_REVOKED"),
        ("terminated", "CANCELLED/TASK_REVOKED"),
        ("expired", "DEADLINE_EXCEEDED/DEADLINE_EXCEEDED"),
    ],
)
def test_a_revoked_task_and_an_expired_one_have_different_statuses(why: str, expected: str) -> None:
    meta = failure("celery.exceptions", "TaskRevokedError", why) | {"status": "REVOKED"}
    assert str(failed(meta)).startswith(expected)


def test_a_lost_worker_is_unavailable_only_where_the_method_may_run_again() -> None:
    meta = failure("billiard.exceptions", "WorkerLostError", "x")
    assert failed(meta, DO_AGAIN).code == code_pb2.UNAVAILABLE


def test_a_type_error_of_the_signature_differs_from_one_raised_in_the_task() -> None:
    message = "add() got an unexpected keyword argument 'z'"
    assert (
        failed(failure("builtins", "TypeError", message, traceback=TRACE_OF_CELERY)).reason
        == "ARGUMENTS_UNFIT"
    )
    assert (
        failed(failure("builtins", "TypeError", message, traceback=TRACE_OF_TASK)).reason
        == "HANDLER_FAILED"
    )


def raise_elsewhere() -> None:
    raise LookupError


CHAINED = """
try:
    raise_elsewhere()
except LookupError as other:
    try:
        {call}
    except Exception as error:
        {chain}
        text = "".join(traceback.format_exception(error))
"""


@pytest.mark.parametrize("chain", ["pass", "error.__cause__ = other"])
@pytest.mark.parametrize(
    ("file", "reason"),
    [("/lib/celery/app/trace.py", "ARGUMENTS_UNFIT"), ("/srv/shop/tasks.py", "HANDLER_FAILED")],
)
def test_only_the_frames_of_the_error_itself_count(file: str, reason: str, chain: str) -> None:
    code = CHAINED.format(call="(lambda: None)(z=1)", chain=chain)
    names = {"traceback": traceback, "raise_elsewhere": raise_elsewhere}
    exec(compile(code, file, "exec"), names)  # noqa: S102
    text = str(names["text"])
    assert __file__ in text, "the other exception is in the traceback"
    message = text.strip().splitlines()[-1].removeprefix("TypeError: ")
    meta = failure("builtins", "TypeError", message, traceback=text)
    assert failed(meta).reason == reason


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (["celery/app/trace.py"], "ARGUMENTS_UNFIT"),
        (["celery/app/trace.py", "celery/app/task.py"], "ARGUMENTS_UNFIT"),
        (["celery/app/trace.py", "celery/app/autoretry.py"], "ARGUMENTS_UNFIT"),
        # other.delay(z=1) in the task: Celery checks the arguments
        (["celery/app/trace.py", "/srv/shop/tasks.py", "celery/app/task.py"], "HANDLER_FAILED"),
        # other(z=1) in the task
        (
            ["celery/app/trace.py", "shop/tasks.py", "celery/local.py", "celery/app/task.py"],
            "HANDLER_FAILED",
        ),
        ([], "HANDLER_FAILED"),  # it is unknown which call it was
    ],
)
def test_only_a_call_of_the_task_itself_that_does_not_fit_is_the_callers_fault(
    frames: list[str], reason: str
) -> None:
    message = "add() got an unexpected keyword argument 'z'"
    traceback = "".join(f'  File "/lib/{file}", line 7, in f\n    f()\n' for file in frames)
    assert failed(failure("builtins", "TypeError", message, traceback=traceback)).reason == reason


def wrapped(module: str, name: str, *arguments: str) -> dict[str, Any]:
    """Celery's stored form of an exception that can't be pickled."""
    meta = failure("celery.utils.serialization", "UnpickleableExceptionWrapper")
    meta["result"]["exc_message"] = [module, name, list(arguments), f"{name}(...)"]
    return meta


def test_an_exception_that_celery_wraps_is_mapped_by_its_own_class() -> None:
    error = failed(wrapped("tests.plain.app", "NoSuchOrder", "order 7"))
    assert str(error) == "NOT_FOUND/NO_SUCH_ORDER: order 7"
    other = outcome(wrapped("shop", "Odd"), DO)
    assert isinstance(other, Failed)
    assert other.note.startswith("it raised shop.Odd; ")
    odd = failure("celery.utils.serialization", "UnpickleableExceptionWrapper", "x")
    assert failed(odd).reason == "HANDLER_FAILED"


@pytest.mark.parametrize(
    "listed", ["Widget.DoesNotExist", "DoesNotExist", "a.Widget.DoesNotExist", "a.DoesNotExist"]
)
def test_a_nested_class_is_named_in_full_or_by_its_last_part(listed: str) -> None:
    table = (ExceptionStatus(listed, "NOT_FOUND"),)
    for meta in (failure("a", "Widget.DoesNotExist"), failure("a", "DoesNotExist")):
        is_listed = not (meta["result"]["exc_type"] == "DoesNotExist" and "Widget" in listed)
        assert (failed(meta, exceptions=table).code_name == "NOT_FOUND") is is_listed


@pytest.mark.parametrize(
    ("module", "name", "status"),
    [
        ("shop.models", "Order.DoesNotExist", "NOT_FOUND"),
        ("django.core.exceptions", "ValidationError", "INVALID_ARGUMENT"),
        ("rest_framework.exceptions", "NotFound", "NOT_FOUND"),
    ],
)
def test_the_documented_mappings_are_those_of_a_django_application(
    module: str, name: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "plain-tasks.md").read_text()
    documented = re.search(r"FOREBAY_EXCEPTIONS='(.*?)'", text, re.DOTALL)
    assert documented is not None
    monkeypatch.setenv("FOREBAY_EXCEPTIONS", documented.group(1))
    table = load_settings().exceptions
    assert failed(failure(module, name), exceptions=table).code_name == status


def test_a_base_class_maps_built_in_exceptions() -> None:
    table = (ExceptionStatus("LookupError", "NOT_FOUND"), ExceptionStatus("Exception", "ABORTED"))
    assert failed(failure("builtins", "KeyError"), exceptions=table).code_name == "NOT_FOUND"
    assert failed(failure("builtins", "ValueError"), exceptions=table).code_name == "INTERNAL"
    assert failed(failure("shop", "KeyError"), exceptions=table).code_name == "INTERNAL"
    assert failed(failure("builtins", "print"), exceptions=table).code_name == "INTERNAL"


def test_an_exceptions_message_stays_inside_unless_the_table_allows_it() -> None:
    error = failed(failure("shop", "Odd", "/etc/passwd", traceback=TRACE_OF_TASK))
    assert "/" not in to_status(error).message


def test_a_table_gives_an_exception_a_status_and_a_reason_of_the_services_domain() -> None:
    error = failed(failure("tests.plain.app", "NoSuchOrder", "order 7"))
    status = to_status(error)
    info = error_details_pb2.ErrorInfo()
    (detail,) = status.details
    assert detail.Unpack(info)
    assert (status.code, status.message) == (code_pb2.NOT_FOUND, "order 7")
    assert (info.reason, info.domain) == ("NO_SUCH_ORDER", "tests.plain.v1.PlainService")


def test_without_a_reason_it_is_handler_aborted_and_names_the_class_only() -> None:
    error = failed(failure("builtins", "PermissionError", "secret"))
    assert str(error) == "PERMISSION_DENIED/HANDLER_ABORTED: the task raised PermissionError"


def test_the_routes_table_comes_before_the_settings_and_both_before_celerys_own() -> None:
    table = (
        ExceptionStatus("NoSuchOrder", "UNKNOWN"),
        ExceptionStatus("SoftTimeLimitExceeded", "ABORTED"),
    )
    assert (
        failed(failure("tests.plain.app", "NoSuchOrder"), exceptions=table).code_name == "NOT_FOUND"
    )
    assert (
        failed(failure("billiard.exceptions", "SoftTimeLimitExceeded"), exceptions=table).code_name
        == "ABORTED"
    )


def test_a_class_is_named_with_its_module_or_without() -> None:
    assert ExceptionStatus("a.b.C", "OK").fits("C", "a.b")
    assert ExceptionStatus("C", "OK").fits("C", "a.b")
    assert ExceptionStatus("a.b.C.D", "OK").fits("C.D", "a.b")
    assert not ExceptionStatus("b.C", "OK").fits("C", "a.b")
    assert not ExceptionStatus("C", "OK").fits("C.D", "a.b")


def test_the_message_of_an_error_is_complete_since_it_is_shortened_later() -> None:
    error = failed(failure("tests.plain.app", "NoSuchOrder", "x" * 10_000))
    assert to_status(error).message == "x" * 10_000


@pytest.mark.parametrize("status", ["PENDING", "RECEIVED", "STARTED", "RETRY", "REJECTED", None, 3])
def test_celerys_intermediate_states_mean_nothing_for_the_caller(status: Any) -> None:
    assert outcome({"status": status, "result": {"pid": 1}}, DO) is None


def test_a_custom_state_is_progress_and_success_is_the_result() -> None:
    assert outcome({"status": "PROGRESS", "result": {"done": 1}}, DO) == Progress({"done": 1})
    assert outcome({"status": "SUCCESS", "result": 3}, DO) == Result(3)


def test_a_route_may_have_no_table() -> None:
    method = replace(DO, route=replace(DO.route, plain=None))
    meta = failure("tests.plain.app", "NoSuchOrder")
    assert failed(meta, method).reason == "HANDLER_FAILED"


def test_a_result_over_the_limit_is_not_read() -> None:
    with pytest.raises(TooLarge, match="of 101 bytes is over this server's limit of 100"):
        read_meta(b"[" * 101, 100 // SLACK)


def test_a_compressed_result_is_inflated_up_to_the_limit() -> None:
    def packed(content: bytes, kind: bytes = b"application/x-gzip") -> bytes:
        return b"\x00celery-compressed\x00" + kind + b"\x00" + content

    meta = {"status": "SUCCESS", "result": 3}
    assert read_meta(packed(zlib.compress(json.dumps(meta).encode())), 1000) == meta
    with pytest.raises(TooLarge):
        read_meta(packed(zlib.compress(bytes(10**6))), 1000)
    full = json.dumps(meta).ljust(100 * SLACK).encode()
    assert read_meta(packed(zlib.compress(full)), 100) == meta
    with pytest.raises(TooLarge, match=f"of {100 * SLACK + 1} bytes"):
        read_meta(packed(zlib.compress(full + b" ")), 100)
    for broken in (packed(b"x"), packed(b"x", b"application/x-bz2")):
        with pytest.raises(ResultUnfit):
            read_meta(broken, 1000)


def test_a_workers_list_that_is_no_json_is_refused_with_the_problem() -> None:
    with pytest.raises(ResultUnfit, match="can't be read: it is not JSON"):
        read_limited(b"{", 1000)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"cos\nsystem\n", "application/x-python-serialize"),
        (b"a: 1", "application/x-yaml"),
        (b"{}", ""),
        (b"[]", "application/json"),
        (b"{", "application/json"),
    ],
)
def test_anything_but_a_state_in_json_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(ResultUnfit):
        read_meta(body, 1000, content_type)
