"""A folder of JSON Lines files as a database of db_plugins: one file for each model, one line for each row."""

from .engine import JsonLinesConnection, JsonLinesEngine

__all__ = ["JsonLinesConnection", "JsonLinesEngine"]
