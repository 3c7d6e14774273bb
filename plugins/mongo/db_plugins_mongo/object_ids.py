"""``ObjectIdText``: the type of a column that is an ObjectId on MongoDB, and its 24 hex digits everywhere else.

id: Mapped[str] = mapped_column(ObjectIdText, primary_key=True, default=ObjectIdText.new)
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from db_plugins.errors import InvalidValueError
from db_plugins.models import Field

__all__ = ["ObjectIdText", "is_object_id"]

_HEX = re.compile("[0-9a-fA-F]{24}")


class ObjectIdText(TypeDecorator[str]):
    """For collections that exist already, and references to them: text in Python, which every engine can hold.

    The text is stored in lower case. What is no 24 hex digits is refused with an InvalidValueError.
    """

    impl = sa.String(24)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """Check a value on its way to the database."""
        if value is None:
            return None
        text = str(value) if type(value).__name__ == "ObjectId" else value
        if not isinstance(text, str) or not _HEX.fullmatch(text):
            raise InvalidValueError(
                f"an ObjectId is 24 hex digits, not a value of type {type(value).__name__}"
                + (f" of {len(text)} characters" if isinstance(text, str) else ""),
                hint="str(object_id) gives them, and ObjectIdText.new() makes a new one",
            )
        return text.lower()

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        """The text, as it is stored."""
        return None if value is None else str(value)

    @staticmethod
    def new() -> str:
        """A new ObjectId's digits: for ``default=``."""
        from bson import ObjectId

        return str(ObjectId())


def is_object_id(field: Field) -> bool:
    """Does MongoDB hold ObjectIds in this column?"""
    return isinstance(field.sql_type, ObjectIdText)
