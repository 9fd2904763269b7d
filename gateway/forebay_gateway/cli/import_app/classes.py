"""The fields of classes that stand for a dict or a list: dataclasses, pydantic models and so on."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices, BaseModel, RootModel

from forebay_gateway.cli.import_app.annotations import annotations_of_class

NOTHING = inspect.Parameter.empty
"""No annotation, or no default."""


@dataclass(frozen=True)
class ClassField:
    """A field; `name` is its name in results, `key` its name in requests if that differs."""

    name: str
    annotation: Any
    required: bool = True
    default: Any = NOTHING
    comment: str = ""
    key: str = ""


def has_fields(cls: type) -> bool:
    """Whether `fields_of` supports the class."""
    return (
        issubclass(cls, BaseModel)
        or dataclasses.is_dataclass(cls)
        or is_named_tuple(cls)
        or _is_typed_dict(cls)
    )


def fields_of(cls: type) -> list[ClassField]:
    """The fields, in the order of their declaration."""
    if issubclass(cls, BaseModel):
        return [*_of_model(cls), *_computed(cls)]
    if dataclasses.is_dataclass(cls):
        return list(_of_dataclass(cls))
    if is_named_tuple(cls):
        types = annotations_of_class(cls)
        names: tuple[str, ...] = getattr(cls, "_fields", ())
        return [ClassField(name, types.get(name, NOTHING)) for name in names]
    return list(_of_typed_dict(cls))


def is_named_tuple(cls: type) -> bool:
    """Whether it is a NamedTuple, which Celery's JSON turns into a list."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def root_of(cls: type) -> Any:
    """The annotation of the only value of a RootModel; NOTHING for other classes."""
    return cls.model_fields["root"].annotation if issubclass(cls, RootModel) else NOTHING


def writes_bytes_as_text(cls: type) -> bool:
    """Whether the class is a pydantic model whose JSON has bytes as plain text."""
    return issubclass(cls, BaseModel) and cls.model_config.get("ser_json_bytes") != "base64"


def doc_of(cls: type) -> str:
    """The class' own docstring; empty if Python generated it."""
    doc = vars(cls).get("__doc__") or ""
    is_made = doc.startswith(f"{cls.__name__}(") or doc == "An enumeration."
    return "" if is_made else inspect.cleandoc(doc)


def _of_model(cls: type[BaseModel]) -> Iterator[ClassField]:
    if not cls.__pydantic_complete__:
        cls.model_rebuild(raise_errors=False)
    by_alias = cls.model_config.get("serialize_by_alias")
    for name, info in cls.model_fields.items():
        output = info.serialization_alias if by_alias else None
        key = _input_key(cls, name, info.validation_alias)
        default = NOTHING if info.is_required() or info.default_factory else info.default
        yield ClassField(
            output or name,
            info.annotation,
            info.is_required(),
            default,
            info.description or "",
            key if key != (output or name) else "",
        )


def _input_key(cls: type[BaseModel], name: str, alias: Any) -> str:
    """The field's key in the model's input."""
    config = cls.model_config
    if config.get("populate_by_name") or config.get("validate_by_name"):
        return name
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return next((choice for choice in choices if isinstance(choice, str)), name)


def _computed(cls: type[BaseModel]) -> Iterator[ClassField]:
    for name, info in cls.model_computed_fields.items():
        comment = "\n".join(filter(None, (info.description, "Computed: only in results.")))
        yield ClassField(name, info.return_type, required=False, comment=comment)


def _of_dataclass(cls: type) -> Iterator[ClassField]:
    types = annotations_of_class(cls)
    for one in dataclasses.fields(cls):
        has_default = one.default is not dataclasses.MISSING
        yield ClassField(
            one.name,
            types.get(one.name, NOTHING),
            not has_default and one.default_factory is dataclasses.MISSING,
            one.default if has_default else NOTHING,
            getattr(one, "doc", None) or "",  # Python 3.14
        )


def _is_typed_dict(cls: type) -> bool:
    return issubclass(cls, dict) and hasattr(cls, "__total__")


def _of_typed_dict(cls: Any) -> Iterator[ClassField]:
    for name, annotation in annotations_of_class(cls).items():
        # `__required_keys__` ignores markers in annotations that are strings.
        marker = str(typing.get_origin(annotation)).rpartition(".")[2]
        required = name in cls.__required_keys__
        if marker in ("Required", "NotRequired"):
            required = marker == "Required"
        yield ClassField(name, annotation, required)
