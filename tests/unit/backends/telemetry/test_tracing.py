"""When a process traces calls, and with what."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from forebay_backends.telemetry.tracing import TracingError, exporters_wanted, make_tracing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, ()),
        ({ENDPOINT: "http://otel:4317"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://otel:4317"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "console"}, ("console",)),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ("otlp", "console")),
        ({ENDPOINT: "http://otel:4317", "OTEL_TRACES_EXPORTER": "none"}, ()),
        ({ENDPOINT: "http://otel:4317", "OTEL_SDK_DISABLED": "True"}, ()),
    ],
)
def test_opentelemetrys_variables_decide_which_exporters_there_are(
    variables: dict[str, str], wanted: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (name for name in os.environ if name.startswith("OTEL_")):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert exporters_wanted() == wanted


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER = 'jaeger': not installed"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL = 'http/json': expected grpc or http/protobuf",
        ),
    ],
)
def test_an_exporter_that_is_not_there_is_an_error(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TracingError) as raised:
        make_tracing("forebay-gateway")
    assert said in str(raised.value)


def test_no_exporter_is_imported_unless_it_is_asked_for() -> None:
    program = (
        "import sys, forebay_gateway.server.gateway, forebay_workers.celery\n"
        "from forebay_backends.telemetry.tracing import import_tracing, make_tracing\n"
        "import_tracing()\n"
        "assert make_tracing('forebay-gateway') is None\n"
        # redis-py imports the API, and the SDK's metrics, where they are installed.
        "assert 'opentelemetry.exporter' not in sys.modules\n"
        "assert 'forebay_backends.telemetry.spans' not in sys.modules\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_the_extra_a_line_of_the_log_says_so() -> None:
    program = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from forebay_backends.telemetry.tracing import import_tracing, make_tracing\n"
        "import_tracing()\n"
        "assert make_tracing('forebay-gateway') is None\n"
    )
    env = {**os.environ, "OTEL_TRACES_EXPORTER": "otlp"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the extra `otel` is missing" in done.stderr
