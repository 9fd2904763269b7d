"""The public names of the packages; a change must be made here, too."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

import forebay
import forebay.aio
import forebay_gateway.testing
import forebay_workers
from forebay.errors import ForebayError


def test_the_public_names_of_the_client() -> None:
    errors = {
        name
        for name, value in ((name, getattr(forebay, name)) for name in dir(forebay))
        if isinstance(value, type) and issubclass(value, ForebayError)
    }
    assert set(forebay.__all__) == errors | {
        "Client",
        "Deadline",
        "FieldViolation",
        "channel",
        "connect",
    }


def test_every_error_of_the_module_is_offered() -> None:
    declared = {
        name
        for name, value in vars(forebay.errors).items()
        if isinstance(value, type) and issubclass(value, ForebayError)
    }
    assert declared <= set(forebay.__all__)


def test_the_public_names_of_the_workers() -> None:
    assert forebay_workers.__all__ == ["application"]
    assert isinstance(forebay_workers.application, types.FunctionType)


def test_the_public_names_of_testing() -> None:
    assert forebay_gateway.testing.__all__ == ["Service", "serving"]


@pytest.mark.parametrize(
    ("module", "not_imported"),
    [
        ("forebay.client", {"celery", "redis", "numpy", "click"}),
        # Celery and kombu only if there are plain tasks, or RabbitMQ: they take 10 MB.
        ("forebay_gateway.server.gateway", {"forebay_workers", "numpy", "celery", "kombu", "rich"}),
        ("forebay_gateway.cli.commands", {"forebay_workers", "numpy", "celery", "kombu", "rich"}),
        ("forebay_gateway.cli.new.command", {"forebay_workers", "celery"}),
        ("forebay_gateway.testing", {"forebay_workers", "celery", "grpc", "redis", "pytest"}),
        ("forebay_gateway.testing.fixtures", {"forebay_workers", "celery", "grpc", "redis"}),
        ("forebay_workers", {"forebay_gateway", "pytest"}),
    ],
)
def test_a_module_imports_no_optional_package(module: str, not_imported: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not not_imported & set(done.stdout.split())


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'forebay' has no attribute 'conect'"):
        forebay.conect  # type: ignore[attr-defined]  # noqa: B018


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> set[str]:
        return {name for name in vars(client) if not name.startswith("_")}

    assert methods(forebay.Client) == methods(forebay.aio.AsyncClient)
