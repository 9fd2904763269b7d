"""Types of the application's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field


class Colour(Enum):
    """What a parcel may be painted in."""

    RED = "red"
    DARK_BLUE = "dark blue"


class Urgency(IntEnum):
    """Its members have numbers of their own."""

    LOW = 10
    HIGH = 20


@dataclass
class Item:
    """A line of an order."""

    sku: str
    quantity: int = 1
    price: Decimal | None = None


@dataclass
class Order:
    """Items and notes on them."""

    id: UUID
    items: list[Item]
    placed: datetime
    notes: dict[str, str] = field(default_factory=dict)


@dataclass
class Category:
    """It holds more of its kind."""

    name: str
    children: list[Category] = field(default_factory=list)
    aliases: dict[str, list[Category]] = field(default_factory=dict)


class Point(NamedTuple):
    """A list in JSON."""

    x: float
    y: float
    label: str | None = None


class Options(TypedDict):
    """One is needed."""

    fast: bool
    depth: NotRequired[int]


class Labels(RootModel[list[str]]):
    """A list by another name."""


class Customer(BaseModel):
    """Who pays."""

    model_config = ConfigDict(populate_by_name=False)

    user_id: int = Field(alias="userId", description="The number on the card.")
    born: date
    awake: time
    patience: timedelta
    seen: datetime
    balance: Decimal
    colour: Colour
    urgency: Urgency | None
    token: bytes
    labels: Labels
    place: Point
    tags: set[str] = Field(default_factory=lambda: {"new"})

    @computed_field  # type: ignore[prop-decorator]
    @property
    def initial(self) -> str:
        """The first digit."""
        return str(self.user_id)[0]


Mode = Literal["fast", "slow"]
Names = Annotated[Sequence[str], "One or more names."]
