"""The metadata of a ScaledObject's trigger."""

from __future__ import annotations

import pytest

from forebay.errors import InvalidRequest
from forebay_gateway.scaling.trigger import CallsPerSlot, Trigger, WaitSeconds, read_trigger


@pytest.mark.parametrize(
    ("metadata", "trigger"),
    [
        ({"queue": "echo", "target": "2"}, Trigger("echo", "", CallsPerSlot(2.0))),
        ({"queue": "echo", "target": "0.5"}, Trigger("echo", "", CallsPerSlot(0.5))),
        ({"queue": "echo", "targetWaitSeconds": "30"}, Trigger("echo", "", WaitSeconds(30.0))),
        (
            {"queueFromEnv": "mail", "application": "shop", "target": "1"},
            Trigger("mail", "shop", CallsPerSlot(1.0)),
        ),
        (
            {"queue": "echo", "target": "1", "scalerAddress": "gateway:50052", "enableTLS": "true"},
            Trigger("echo", "", CallsPerSlot(1.0)),
        ),
    ],
)
def test_metadata_of_keda_is_read(metadata: dict[str, str], trigger: Trigger) -> None:
    assert read_trigger(metadata) == trigger


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "queue: expected the name of a queue"),
        ({"queue": "", "target": "1"}, "queue: expected the name of a queue"),
        ({"queue": "echo"}, "got neither"),
        ({"queue": "echo", "target": "1", "targetWaitSeconds": "1"}, "got both"),
        ({"queue": "echo", "target": "two"}, "target: expected a number above 0, got 'two'"),
        ({"queue": "echo", "target": "0"}, "expected a number above 0"),
        ({"queue": "echo", "target": "-1"}, "expected a number above 0"),
        ({"queue": "echo", "target": "inf"}, "expected a number above 0"),
        ({"queue": "echo", "target": "nan"}, "expected a number above 0"),
        (
            {"queue": "echo", "targetWaitSeconds": ""},
            "targetWaitSeconds: expected a number above 0, got ''",
        ),
        (
            {"queue": "echo", "target": "1", "tarqet": "2"},
            "tarqet: expected one of queue, application, target, targetWaitSeconds",
        ),
    ],
)
def test_bad_metadata_is_refused_with_what_was_expected(
    metadata: dict[str, str], expected: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_trigger(metadata)
    assert expected in refused.value.message
    assert refused.value.violations


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_trigger({"que": "echo", "target": "many"})
    assert [violation.field for violation in refused.value.violations] == ["que", "queue", "target"]


@pytest.mark.parametrize(
    ("application", "queue", "name"),
    [
        ("", "echo", "forebay-echo"),
        ("shop", "mail", "forebay-shop-mail"),
        ("", "Video/4K:hot_", "forebay-video-4k-hot"),
    ],
)
def test_a_metrics_name_is_one_that_kubernetes_accepts(
    application: str, queue: str, name: str
) -> None:
    assert Trigger(queue, application, CallsPerSlot(1)).metric_name == name
