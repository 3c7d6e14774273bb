"""``MetadataMixin`` and ``TimestampMixin``: a key and two times, filled in the same way on every engine."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Any

from db_plugins import Capability

from .harness import Connect, Harness, requires, subject
from .models import Diary, Hero

__all__ = ["Mixins"]


def _wait() -> None:
    """Until the clock has moved for every engine: they keep milliseconds at least."""
    time.sleep(0.005)


@subject("timestamps", Capability.WRITE)
class Mixins(Harness):
    """API §1, the mixins."""

    def test_the_key_and_the_times_are_filled_in(self, connect: Connect) -> None:
        query = connect(Hero).query(Hero)
        before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        for row in ({"name": "a"}, Hero(name="b")):
            hero = query.insert(row)
            found: Any = query.get(hero.id)
            assert (type(found.id), found.id.version) == (uuid.UUID, 7)
            assert found.created_at == found.updated_at == hero.created_at
            assert before < found.created_at <= dt.datetime.now(dt.UTC)

    def test_the_times_are_aware_in_utc(self, connect: Connect) -> None:
        db = connect(Hero, Diary)
        db.query(Hero).insert({"name": "a"})
        db.query(Diary).insert({"text": "a"})
        for row in (db.query(Hero).one(), db.query(Diary).one()):
            assert row.created_at.utcoffset() == row.updated_at.utcoffset() == dt.timedelta(0)

    def test_keys_are_different_and_sort_in_the_order_of_their_making(self, connect: Connect) -> None:
        query = connect(Hero).query(Hero)
        keys = query.bulk_insert([{"name": str(n)} for n in range(300)], return_keys=True).keys
        assert len(set(keys)) == 300
        assert [hero.name for hero in query.order_by("id").all()] == [str(n) for n in range(300)]

    def test_an_update_moves_the_one_time_and_not_the_other(self, connect: Connect) -> None:
        query = connect(Diary).query(Diary)
        row = query.insert({"text": "a"})
        created = row.created_at
        for change in (
            lambda: query.update(row, {"text": "b"}),
            lambda: query.filter(id=row.id).update({"text": "c"}),
        ):
            before = query.one().updated_at
            _wait()
            change()
            assert query.one().updated_at > before
            assert query.one().created_at == created

    def test_a_given_time_wins(self, connect: Connect) -> None:
        query = connect(Diary).query(Diary)
        old = dt.datetime(2001, 2, 3, tzinfo=dt.UTC)
        row = query.insert({"created_at": old})
        assert (row.created_at, row.updated_at) == (old, old)
        assert query.update(row, {"text": "a", "updated_at": old}).updated_at == old

    @requires(Capability.SESSIONS)
    def test_a_session_fills_in_the_same(self, connect: Connect) -> None:
        db = connect(Hero)
        with db.session() as s:
            s.add(Hero(name="a"))
        hero = db.query(Hero).one()
        assert hero.id.version == 7
        assert hero.created_at == hero.updated_at
        _wait()
        with db.session() as s:
            s.get(Hero, hero.id).name = "b"  # type: ignore[union-attr]
        again = db.query(Hero).one()
        assert again.created_at == hero.created_at
        assert again.updated_at > hero.updated_at
