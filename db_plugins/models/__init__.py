"""What a mapped class says: its fields, its keys, how a row becomes an object, and whether a value fits.

For those who write models: ``Base``, ``MetadataMixin``, ``TimestampMixin``, ``schemas`` and ``Vector``.
"""

from .describe import ForeignKey, ModelInfo, Unique, association_tables, describe, own_tables
from .fields import Default, Field, Kind
from .mixins import Base, MetadataMixin, TimestampMixin
from .schemas import schemas
from .values import Limits, make_checker
from .vectors import Vector

__all__ = [
    "Base",
    "Default",
    "Field",
    "ForeignKey",
    "Kind",
    "Limits",
    "MetadataMixin",
    "ModelInfo",
    "TimestampMixin",
    "Unique",
    "Vector",
    "association_tables",
    "describe",
    "make_checker",
    "own_tables",
    "schemas",
]
