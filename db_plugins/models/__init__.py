"""What a mapped class says: its fields, its keys, how a row becomes an object, and whether a value fits.

For those who write models: ``Base``, ``MetadataMixin``, ``TimestampMixin``, ``schemas`` and ``Vector``. For those who write
engines: ``to_json`` and ``from_json`` for values, and ``ModelInfo.duplicate`` for an error.
"""

from .describe import ForeignKey, ModelInfo, Unique, association_tables, describe, own_tables
from .fields import Default, Field, Kind
from .mixins import Base, MetadataMixin, TimestampMixin
from .schemas import schemas
from .texts import from_json, to_json
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
    "from_json",
    "make_checker",
    "own_tables",
    "schemas",
    "to_json",
]
