"""What the packages offer by name: changing it is meant to be noticed here."""

from __future__ import annotations

import types

import forebay
import forebay.aio
import forebay_workers
from forebay.errors import ForebayError


def test_the_client_offers_connect_its_class_deadlines_and_every_error() -> None:
    errors = {
        name
        for name, value in vars(forebay).items()
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


def test_the_workers_offer_the_making_of_an_application() -> None:
    assert forebay_workers.__all__ == ["application"]
    assert isinstance(forebay_workers.application, types.FunctionType)


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> set[str]:
        return {name for name in vars(client) if not name.startswith("_")}

    assert methods(forebay.Client) == methods(forebay.aio.AsyncClient)
