"""SQLAlchemy Sessions: a session is a transaction, calls join it, and what fails inside it is ours outside."""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm import Mapped, Session, mapped_column

from db_plugins import Capability
from db_plugins.errors import (
    ConflictError,
    DuplicateKeyError,
    ForeignKeyError,
    InvalidValueError,
    NotLoadedError,
    NotNullError,
    UnsupportedOperationError,
)

from .harness import Connect, Harness, faces, refuses, subject
from .models import Author, Base, Book, Colour, Star, Thing
from .samples import REFUSED, zone
from .transactions import Beside, Stop

__all__ = ["Sessions"]


class Clock(Base):
    """Columns that the server fills in, and a version that it counts."""

    __tablename__ = "kit_clock"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))
    made: Mapped[str] = mapped_column(sa.String(10), server_default="new")
    changed: Mapped[str | None] = mapped_column(sa.String(10), onupdate=sa.func.lower("YES"))
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}


def star_names(db: Any) -> list[str]:
    """The names of all stars, sorted."""
    return [star.name for star in db.query(Star).order_by("name").all()]


@subject("sessions", Capability.WRITE, Capability.UNIQUE, Capability.TRANSACTIONS, Capability.SESSIONS)
class Sessions(Harness):
    """API §7."""

    @refuses(Capability.SESSIONS)
    def test_a_session_is_refused_and_transaction_is_named(self, alarmed: Connect) -> None:
        db = alarmed(Star)
        for options in ({}, {"commit": False}):
            with (
                pytest.raises(
                    UnsupportedOperationError, match=rf"{db.engine} has no sessions.*transaction\(\)"
                ),
                db.session(**options),
            ):
                pytest.fail("the block was entered")

    # -- commit and rollback ---------------------------------------------------------------------------------------

    def test_a_session_of_sqlalchemy_commits_at_the_end(self, connect: Connect) -> None:
        db = connect(Author, Book)
        with db.session() as s:
            assert isinstance(s, Session)
            s.add(Author(name="Ann", books=[Book(title="a"), Book(title="b")]))
        author = db.query(Author).include(Author.books).one()
        assert sorted(book.title for book in author.books) == ["a", "b"]

    @pytest.mark.parametrize("error", [Stop, ZeroDivisionError, KeyboardInterrupt])
    def test_an_exception_undoes_all_of_it_and_leaves_as_it_is(
        self, connect: Connect, error: type[BaseException]
    ) -> None:
        db = connect(Star)
        raised = error()

        def work() -> None:
            with db.session() as s:
                s.add(Star(name="a"))
                s.flush()
                db.query(Star).insert({"name": "b"})
                raise raised

        with pytest.raises(error) as caught:
            work()
        assert caught.value is raised
        assert star_names(db) == []

    def test_the_commit_may_be_left_to_the_user(self, connect: Connect) -> None:
        db = connect(Star)
        with db.session(commit=False) as s:
            s.add(Star(name="a"))
            s.flush()
        assert star_names(db) == []
        with db.session(commit=False) as s:
            s.add(Star(name="a"))
            s.commit()
            s.add(Star(name="b"))
            s.rollback()
            db.query(Star).insert({"name": "c"})
            s.commit()
            s.add(Star(name="d"))
            s.flush()
        assert star_names(db) == ["a", "c"]

    def test_what_was_committed_inside_is_seen_by_others_at_once(self, connect: Connect) -> None:
        db = connect(Star)
        with db.session() as s:
            s.add(Star(name="a"))
            s.commit()
            assert Beside(lambda: star_names(db)).result() == ["a"]
            s.add(Star(name="b"))
        assert star_names(db) == ["a", "b"]

    def test_the_connection_is_taken_at_first_use_and_given_back(self, connect: Connect) -> None:
        db = connect(Star)

        def in_use() -> int:
            return db.ping().pool["in_use"]  # type: ignore[index]

        with db.session() as s:
            assert Beside(in_use).result() == 0
            s.add(Star(name="a"))
            s.commit()
            assert Beside(in_use).result() == 0, "after its commit too"
        with suppress(Stop), db.session() as s:
            s.add(Star(name="b"))
            s.flush()
            raise Stop
        assert in_use() == 0

    def test_a_session_that_has_ended_is_refused(self, connect: Connect) -> None:
        with connect(Star).session() as s:
            s.add(Star(name="a"))
        with pytest.raises(UnsupportedOperationError, match="ended"):
            s.scalars(sa.select(Star)).all()

    # -- calls that join -------------------------------------------------------------------------------------------

    def test_calls_on_db_see_what_is_pending_and_the_session_sees_what_they_wrote(
        self, connect: Connect
    ) -> None:
        db = connect(Star)
        before = db.query(Star)
        with suppress(Stop), db.session() as s:
            s.add(Star(name="a", mag=1))
            assert before.filter(name="a").one().mag == 1.0
            assert before.count() == 1
            s.add(Star(name="b"))
            assert [star.name for star in before.order_by("name").stream()] == ["a", "b"]
            before.insert({"name": "c"})
            assert before.filter(name="a").update({"mag": 2}) == 1
            assert s.scalar(sa.select(Star.mag).where(Star.name == "a")) == 2.0
            assert before.filter(name="c").delete() == 1
            raise Stop
        assert star_names(db) == []

    def test_a_session_without_autoflush_keeps_what_is_pending(self, connect: Connect) -> None:
        db = connect(Star)
        with db.session() as s:
            with s.no_autoflush:
                s.add(Star(name="a"))
                assert db.query(Star).count() == 0
            assert db.query(Star).count() == 1

    def test_a_call_alone_is_committed_too(self, connect: Connect) -> None:
        db = connect(Star)
        with db.session():
            db.query(Star).insert({"name": "a"})
        assert star_names(db) == ["a"]

    def test_a_bulk_write_of_several_batches_joins(self, connect: Connect) -> None:
        db = connect(Star)
        with suppress(Stop), db.session() as s:
            s.add(Star(name="a"))
            db.query(Star).bulk_insert(({"name": f"s{n}"} for n in range(25)), batch_size=10)
            assert s.scalar(sa.select(sa.func.count(Star.id))) == 26
            raise Stop
        assert star_names(db) == []

    def test_statements_of_the_session_do_not_disturb_a_stream(self, seven: Any) -> None:
        with seven.session() as s:
            stream = seven.query(Star).order_by("id").stream(batch_size=2)
            first = next(stream)
            s.add(Star(name="new"))
            s.flush()
            assert s.get(Star, 2).name == "Sirius"
            assert [first.id, *(star.id for star in stream)] == [1, 2, 3, 4, 5, 6, 7]
            next(seven.query(Star).stream(batch_size=2))

    def test_a_stream_ends_with_the_transaction_that_its_user_ends(self, seven: Any) -> None:
        for end in ("commit", "rollback"):
            with seven.session() as s:
                stream = seven.query(Star).stream(batch_size=2)
                next(stream)
                getattr(s, end)()
                s.get(Star, 1)
                if seven.native.engine.pool.size() > 1:  # in memory it was read to the end at once
                    next(stream)
                    with pytest.raises(UnsupportedOperationError, match="stream has ended"):
                        next(stream)
            assert seven.query(Star).count() == 7

    def test_another_thread_does_not_join(self, connect: Connect) -> None:
        db = connect(Star)
        with db.session() as s:
            s.add(Star(name="a"))
            s.flush()
            reader = Beside(lambda: star_names(db))
            if reader.is_done():
                assert reader.result() == []
        assert reader.result() in ([], ["a"])

    def test_the_block_may_be_entered_and_left_in_two_threads_as_web_frameworks_do(
        self, connect: Connect
    ) -> None:
        db = connect(Star)
        for name, error in (("a", None), ("b", Stop())):
            block = db.session()
            s = Beside(block.__enter__).result()
            Beside(partial(s.add, Star(name=name))).result()
            with suppress(Stop):
                Beside(partial(block.__exit__, type(error) if error else None, error, None)).result()
        block = db.session()
        contextvars.copy_context().run(block.__enter__)
        contextvars.copy_context().run(block.__exit__, None, None, None)
        assert star_names(db) == ["a"]

    @faces("sync")
    def test_a_task_started_inside_that_uses_db_is_refused(self, connect: Connect) -> None:
        db = connect(Star)

        async def use_db() -> int:
            return db.query(Star).count()

        async def main() -> None:
            with db.session() as s:
                s.add(Star(name="a"))
                assert await use_db() == 1
                with pytest.raises(UnsupportedOperationError, match="tx"):
                    await asyncio.create_task(use_db())

        asyncio.run(main())

    # -- inside a transaction, and around one ----------------------------------------------------------------------

    @pytest.mark.parametrize("is_bound", [True, False], ids=["tx.session", "db.session"])
    def test_inside_a_transaction_it_joins_that_and_commits_nothing(
        self, connect: Connect, is_bound: bool
    ) -> None:
        db = connect(Star)
        with suppress(Stop), db.transaction() as tx:
            with (tx if is_bound else db).session() as s:
                s.add(Star(name="a"))
                assert db.query(Star).count() == tx.query(Star).count() == 1
                s.commit()
                s.add(Star(name="b"))
            assert star_names(tx) == ["a", "b"]
            raise Stop
        assert star_names(db) == []
        with db.transaction() as tx, (tx if is_bound else db).session() as s:
            s.add(Star(name="c"))
        assert star_names(db) == ["c"]

    def test_inside_a_transaction_it_is_undone_alone(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction() as tx:
            tx.query(Star).insert({"name": "a"})
            with suppress(Stop), tx.session() as s:
                s.add(Star(name="b"))
                s.flush()
                raise Stop
            with pytest.raises(DuplicateKeyError), tx.session() as s:
                s.add_all([Star(name="c"), Star(name="a")])
            with tx.session(commit=False) as s:
                s.add(Star(name="d"))
                s.flush()
            with tx.session() as s:
                s.add(Star(name="e"))
            tx.query(Star).insert({"name": "f"})
        assert star_names(db) == ["a", "e", "f"]

    def test_in_a_read_only_transaction_it_refuses_to_write(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction(read_only=True) as tx:
            with tx.session(commit=False) as s:
                s.add(Star(name="a"))
                with pytest.raises(UnsupportedOperationError, match="read-only"):
                    s.flush()
            with tx.session() as s:
                assert s.scalars(sa.select(Star)).all() == []
        assert db.query(Star).count() == 0

    def test_a_session_inside_a_session_joins_it(self, connect: Connect) -> None:
        db = connect(Star)
        with suppress(Stop), db.session() as outer:
            outer.add(Star(name="a"))
            with db.session() as inner:
                assert inner.scalars(sa.select(Star.name)).all() == ["a"]
                inner.add(Star(name="b"))
            assert sorted(outer.scalars(sa.select(Star.name))) == ["a", "b"]
            raise Stop
        assert star_names(db) == []

    def test_a_transaction_inside_a_session_is_a_savepoint_of_both(self, connect: Connect) -> None:
        db = connect(Star)
        with db.session() as s:
            s.add(Star(name="a"))
            with suppress(Stop), db.transaction() as tx:
                tx.query(Star).insert({"name": "b"})
                lost = Star(name="c")
                s.add(lost)
                s.flush()
                raise Stop
            assert lost not in s
            with db.transaction() as tx:
                tx.query(Star).insert({"name": "d"})
            with suppress(Stop), s.begin_nested():
                db.query(Star).insert({"name": "e"})
                raise Stop
            with s.begin_nested():
                db.query(Star).insert({"name": "f"})
        assert star_names(db) == ["a", "d", "f"]

    # -- objects ---------------------------------------------------------------------------------------------------

    def test_objects_stay_readable_afterwards_with_what_the_server_set(self, connect: Connect) -> None:
        db = connect(Star, Clock)
        with db.session() as s:
            star, clock, later = Star(name="a"), Clock(name="a"), Clock(name="b")
            s.add_all([star, clock, later])
            s.flush()
            later.name = "c"
        db.close()
        assert (star.id, star.name, star.mag, star.band) == (1, "a", None, None)
        assert (clock.made, clock.changed, clock.version) == ("new", None, 1)
        assert (later.made, later.changed, later.version) == ("new", "yes", 2)

    @faces("sync")  # an AsyncSession loads nothing that is not awaited: MissingGreenlet
    def test_relationships_load_lazily_while_the_session_lives_and_are_named_after(
        self, connect: Connect
    ) -> None:
        db = connect(Author, Book)
        with db.session() as s:
            s.add_all([Author(id=1, name="Ann", books=[Book(title="a")]), Author(id=2, name="Ben")])
        with db.session() as s:
            ann, ben = s.get_one(Author, 1), s.get_one(Author, 2)
            assert [book.author for book in ann.books] == [ann]
        assert [book.title for book in ann.books] == ["a"], "what was loaded stays"
        with pytest.raises(NotLoadedError, match=r"Author\.books"):
            ben.books  # noqa: B018

    def test_objects_of_a_query_may_be_added_changed_merged_and_deleted(
        self, connect: Connect, face: str
    ) -> None:
        db = connect(Author, Book)
        with db.session() as s:
            s.add_all([Author(id=1, name="Ann", books=[Book(id=1, title="a")]), Book(id=2, title="b")])
        one, two = db.query(Book).get_many([1, 2]).values()
        with db.session() as s:
            s.add(one)
            one.title = "changed"
            if face == "async":  # where nothing is loaded that is not awaited
                s.refresh(one, ["author"])
            assert one.author is not None
            assert one.author.name == "Ann"
            two.title = "merged"
            merged = s.merge(two)
            merged.author = one.author
        assert [(b.title, b.author_id) for b in db.query(Book).order_by("id").all()] == [
            ("changed", 1),
            ("merged", 1),
        ]
        with db.session() as s:
            s.delete(db.query(Book).get(1))
        assert db.query(Book).count() == 1

    def test_an_object_that_a_joined_call_updates_stays_with_the_session(self, connect: Connect) -> None:
        db = connect(Star)
        with db.session() as s:
            star = Star(name="a")
            s.add(star)
            s.flush()
            assert db.query(Star).update(star, {"mag": 1}) is star
            assert (star in s, star.mag, s.is_modified(star)) == (True, 1.0, False)
            star.name = "b"
            with pytest.raises(UnsupportedOperationError, match="Session"):
                db.query(Star).insert(star)
        read = db.query(Star).one()
        assert (read.name, read.mag) == ("b", 1.0)

    def test_values_are_those_of_a_query(self, connect: Connect) -> None:
        db = connect(Thing)
        moment = dt.datetime(2026, 11, 21, 12, tzinfo=zone(-9.5))
        with db.session() as s:
            s.add(Thing(id=1, at=moment, price=Decimal("0.1"), extra={"a": 1}, raw=b"\x00", size=2))
        with db.session() as s:
            assert s.scalar(sa.select(Thing.id).where(Thing.at == moment, Thing.extra.is_not(None))) == 1
            found = s.get_one(Thing, 1)
        read = db.query(Thing).one()
        for thing in (found, read):
            assert (thing.at, thing.at.tzinfo) == (moment, dt.UTC)  # type: ignore[union-attr]
            assert (thing.price, thing.extra, thing.raw, thing.size) == (
                Decimal("0.100"),
                {"a": 1},
                b"\x00",
                2.0,
            )

    # -- errors ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("way", ["at the end", "flush", "commit", "execute", "joined"])
    def test_an_error_of_the_driver_leaves_the_block_as_ours(self, connect: Connect, way: str) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "a"})

        def work() -> None:
            with db.session() as s:
                s.add(Star(name="b"))
                if way == "execute":
                    s.execute(sa.insert(Star).values(name="a"))
                s.add(Star(name="a"))
                if way == "joined":
                    db.query(Star).count()
                elif way in ("flush", "commit"):
                    getattr(s, way)()

        with pytest.raises(DuplicateKeyError, match="Star with the same name") as caught:
            work()
        error = caught.value
        assert (error.attributes, error.engine) == (("name",), db.engine)
        assert error.orig is error.__cause__
        assert not isinstance(error.__cause__, sa_exc.SQLAlchemyError)
        assert star_names(db) == ["a"]

    def test_each_constraint_has_its_error(self, connect: Connect) -> None:
        db = connect(Star, Author, Book)
        with pytest.raises(NotNullError) as caught, db.session() as s:
            s.add(Star())
        assert caught.value.attributes == ("name",)
        with pytest.raises(ForeignKeyError, match="Book"), db.session() as s:
            s.add(Book(title="a", author_id=99))

    def test_inside_the_block_the_errors_are_sqlalchemys_and_after_a_rollback_it_goes_on(
        self, connect: Connect
    ) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "a"})
        with db.session() as s:
            s.add(Star(name="a"))
            with pytest.raises(sa_exc.IntegrityError):
                s.flush()
            with pytest.raises(UnsupportedOperationError, match=r"DuplicateKeyError.*rollback\(\)"):
                db.query(Star).count()
            s.rollback()
            s.add(Star(name="b"))
            assert db.query(Star).count() == 2
            with pytest.raises(sa_exc.IntegrityError), s.begin_nested():
                s.add(Star(name="a"))
            db.query(Star).insert({"name": "c"})
        assert star_names(db) == ["a", "b", "c"]

    @pytest.mark.parametrize("way", ["flush", "execute", "joined"])
    def test_after_an_error_that_was_caught_nothing_is_committed(self, connect: Connect, way: str) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "a"})

        def fail(s: Session) -> None:
            if way == "flush":
                s.add(Star(name="a"))
                s.flush()
            elif way == "execute":
                s.execute(sa.insert(Star).values(name="a"))
            else:
                db.query(Star).insert({"name": "a"})

        def work(commit: bool) -> None:
            with db.session() as s:
                s.add(Star(name="b"))
                s.flush()
                with pytest.raises((sa_exc.IntegrityError, DuplicateKeyError)):
                    fail(s)
                with pytest.raises(UnsupportedOperationError, match="DuplicateKeyError"):
                    db.query(Star).count()
                if commit:
                    s.commit()

        with pytest.raises(DuplicateKeyError):
            work(commit=False)
        with pytest.raises((UnsupportedOperationError, DuplicateKeyError), match="same name"):
            work(commit=True)
        assert star_names(db) == ["a"]

    @pytest.mark.parametrize("name", ["text", "number", "price", "colour", "letter", "at", "day", "token"])
    def test_a_value_that_does_not_fit_is_refused_and_spoils_nothing(
        self, connect: Connect, name: str
    ) -> None:
        db = connect(Thing)
        with db.session() as s:
            kept = Thing(id=1)
            s.add(kept)
            s.flush()
            for value in REFUSED[name]:
                for thing in (Thing(), kept):
                    setattr(thing, name, value)
                    s.add(thing)
                    with pytest.raises(InvalidValueError, match=rf"Thing\.{name}"):
                        s.flush()
                    s.expunge(thing) if thing is not kept else s.refresh(kept)
            s.add(Thing(id=2, text="b"))
        assert [thing.id for thing in db.query(Thing).order_by("id").all()] == [1, 2]

    def test_values_become_those_of_their_column(self, connect: Connect) -> None:
        db = connect(Thing)
        with db.session() as s:
            thing = Thing(colour="GREEN", size=float("nan"), number=sa.literal(2) + 3)
            s.add(thing)
        assert (thing.colour, thing.size, thing.number) == (Colour.GREEN, None, 5)
        read = db.query(Thing).one()
        assert (read.colour, read.size, read.number) == (Colour.GREEN, None, 5)

    def test_mistakes_in_using_the_session_leave_as_they_are(self, connect: Connect) -> None:
        db = connect(Star)
        with pytest.raises(sa_exc.NoResultFound), db.session() as s:
            s.scalars(sa.select(Star)).one()
        with pytest.raises(sa_exc.InvalidRequestError, match="not mapped"), db.session() as s:
            s.add(object())
        with pytest.raises(sa_exc.StatementError, match="bind parameter"), db.session() as s:
            s.execute(sa.text("SELECT :x"))

    def test_a_version_that_was_counted_on_by_somebody_else_is_a_conflict(self, connect: Connect) -> None:
        db = connect(Clock)
        with db.session() as s:
            clock = Clock(name="a")
            s.add(clock)
        db.query(Clock).filter(id=clock.id).update({"version": 7})

        def work() -> None:
            with db.session() as s:
                s.add(clock)
                clock.name = "b"

        with pytest.raises(ConflictError) as caught:
            work()
        assert caught.value.retryable
        assert db.query(Clock).one().name == "a"

    def test_a_row_that_was_changed_since_the_snapshot_is_a_conflict(self, connect: Connect) -> None:
        db = connect(Star)
        db.query(Star).bulk_insert([{"name": "a", "mag": 0}, {"name": "b"}])
        others: list[Beside] = []

        def work() -> None:
            with db.session() as s:
                star = s.scalars(sa.select(Star).where(Star.name == "a")).one()
                others.append(Beside(lambda: db.query(Star).filter(name="a").update({"mag": Star.mag + 1})))
                was_done = others[0].is_done()
                star.mag = (star.mag or 0) + 1
                s.flush()
                assert not was_done, "a lost update"

        with suppress(ConflictError):
            work()
        assert others[0].result() == 1
        assert db.query(Star).filter(name="a").one().mag in (1.0, 2.0)
