"""What a mapped class says: its fields, its keys, how a row becomes an object, and whether a value fits."""

from .describe import ForeignKey, ModelInfo, Unique, association_tables, describe
from .fields import Default, Field, Kind
from .values import Limits, make_checker
from .vectors import Vector

__all__ = [
    "Default",
    "Field",
    "ForeignKey",
    "Kind",
    "Limits",
    "ModelInfo",
    "Unique",
    "Vector",
    "association_tables",
    "describe",
    "make_checker",
]
