"""``op``: what a revision file says. Outside a migration every operation raises MigrationError.

    from db_plugins_mongo import op

    def upgrade() -> None:
        op.add_field("stars", "mag", default=0)
        op.create_index("stars", [["mag", 1]], name="ix_stars_mag")

The arguments are plain data. Each call is one step of the journal, and can be repeated: an interrupted revision goes on with
the operation at which it stopped. ``upgrade()`` is called twice: once to look at what it asks for, so that what must be
refused is refused before anything is sent, and once to do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from db_plugins.errors import MigrationError

from . import collection_steps, document_steps
from .schema import Index
from .steps import Operation

__all__ = ["Operations", "Performer", "op", "performing"]


class Performer(Protocol):
    """Where operations go: to the server, or into a list."""

    def perform(self, operation: Operation) -> None: ...

    @property
    def database(self) -> Any: ...


_performer: ContextVar[Performer | None] = ContextVar("db_plugins_mongo.op", default=None)


@contextmanager
def performing(performer: Performer) -> Iterator[None]:
    """``op`` speaks to this performer."""
    token = _performer.set(performer)
    try:
        yield
    finally:
        _performer.reset(token)


def _current(name: str) -> Performer:
    performer = _performer.get()
    if performer is None:
        raise MigrationError(
            f"op.{name} is used outside a migration",
            hint="call it in upgrade() or downgrade() of a revision file",
        )
    return performer


class Operations:
    """The operations of a revision. There is one, ``op``."""

    # -- collections -----------------------------------------------------------------------------------------

    def create_collection(
        self,
        name: str,
        *,
        indexes: Sequence[Mapping[str, Any]] = (),
        validator: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a collection; one that is there gets the indexes that it lacks, and this validator.

        An index is ``{"name": …, "keys": [[field, 1], …], "unique": True, …}`` with the options of createIndex.
        """
        made = tuple(_index(name, **each) for each in indexes)
        _current("create_collection").perform(collection_steps.CreateCollection(name, made, validator))

    def drop_collection(self, name: str) -> None:
        """Drop it. Raises DestructiveChangeError, before the revision begins, while it holds documents."""
        _current("drop_collection").perform(collection_steps.DropCollection(name))

    def rename_collection(self, old: str, new: str) -> None:
        """Rename it, its indexes and the numbering of its keys with it."""
        _current("rename_collection").perform(collection_steps.RenameCollection(old, new))

    def set_validator(self, collection: str, validator: Mapping[str, Any] | None) -> None:
        """Exchange the validator, ``{"$jsonSchema": …}``; ``None`` takes it away. Documents are not looked at."""
        _current("set_validator").perform(collection_steps.SetValidator(collection, validator))

    # -- indexes ---------------------------------------------------------------------------------------------

    def create_index(
        self,
        collection: str,
        keys: Sequence[Sequence[Any]],
        *,
        name: str,
        unique: bool = False,
        **options: Any,
    ) -> None:
        """Make an index with the options of createIndex. A unique one is refused while documents share values."""
        index = _index(collection, name=name, keys=keys, unique=unique, **options)
        _current("create_index").perform(collection_steps.CreateIndex(collection, index))

    def drop_index(self, collection: str, name: str) -> None:
        """Drop an index by its name; none of that name is fine."""
        _current("drop_index").perform(collection_steps.DropIndex(collection, name))

    # -- fields ----------------------------------------------------------------------------------------------

    def add_field(self, collection: str, field: str, *, default: Any = None) -> None:
        """Fill a new field of the documents that lack it with ``default``, as it is stored; without one they go on lacking it."""
        _current("add_field").perform(document_steps.AddField(collection, field, default))

    def require_field(self, collection: str, field: str) -> None:
        """Refuse the revision while documents lack the field."""
        _current("require_field").perform(document_steps.RequireField(collection, field))

    def require_none(self, collection: str, filter: Mapping[str, Any]) -> None:  # noqa: A002 - MongoDB's word
        """Refuse the revision while documents match the filter."""
        _current("require_none").perform(document_steps.RequireNone(collection, filter))

    def drop_field(self, collection: str, field: str, *, default: Any = None) -> None:
        """Take the field out of all documents. Raises DestructiveChangeError while any holds a value that is not ``default``."""
        _current("drop_field").perform(document_steps.DropField(collection, field, default))

    def rename_field(self, collection: str, old: str, new: str) -> None:
        """Rename the field in all documents. Indexes and the validator are not changed."""
        _current("rename_field").perform(document_steps.RenameField(collection, old, new))

    def convert_field(self, collection: str, field: str, to: str) -> None:
        """Convert the field's values to ``int``, ``double``, ``decimal``, ``string``, ``bool`` or ``date``.

        Refused while documents hold what has no such value: 1.5 has none as an int.
        """
        _current("convert_field").perform(document_steps.ConvertField(collection, field, to))

    # -- data ------------------------------------------------------------------------------------------------

    def update(
        self,
        collection: str,
        filter: Mapping[str, Any],  # noqa: A002 - MongoDB's word
        change: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        repeatable: bool = False,
    ) -> None:
        """``updateMany``, with an update document or a pipeline.

        ``repeatable=True`` says that it may be sent again if the migration is interrupted while it runs; without it a
        person is asked (``--resume`` or ``--mark-done``).
        """
        _current("update").perform(document_steps.Update(collection, filter, change, repeatable))

    @property
    def database(self) -> Any:
        """PyMongo's Database, for all else.

        What is done with it is not in the journal: it is done again when an interrupted revision goes on. What the
        operations behind it would refuse is refused when their turn comes, and not before the revision begins.
        """
        return _current("database").database


def _index(collection: str, **given: Any) -> Index:
    try:
        name, keys = str(given.pop("name")), given.pop("keys")
        options = {k: v for k, v in given.items() if v is not None and v is not False}
        return Index(name, tuple((str(path), direction) for path, direction in keys), options)
    except (KeyError, TypeError, ValueError):
        raise MigrationError(
            f"op: an index of {collection} has no name, or keys that are no pairs of a field and a direction",
            hint='write {"name": "ix_stars_mag", "keys": [["mag", 1]]}',
        ) from None


op = Operations()
