"""The table of items as Tortoise ORM maps it: it takes its models from a module."""

from __future__ import annotations

from tortoise import fields, models  # type: ignore[import-not-found, unused-ignore]

from .tables import NAMES

__all__ = ["TortoiseItem"]

TortoiseItem = type(
    "TortoiseItem",
    (models.Model,),
    {
        "id": fields.IntField(primary_key=True),
        **{name: fields.TextField() for name in NAMES[1:4]},
        **{name: fields.FloatField() for name in NAMES[4:7]},
        NAMES[7]: fields.BooleanField(),
        NAMES[8]: fields.DatetimeField(),
        NAMES[9]: fields.IntField(null=True),
        "Meta": type("Meta", (), {"table": "items"}),
        "__module__": __name__,
    },
)
