"""``version_id_col``: an object is written only over the row that it was read from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from db_plugins import Capability
from db_plugins.errors import (
    ConflictError,
    InvalidValueError,
    NotFoundError,
    UnsupportedOperationError,
)

from .harness import Connect, Harness, requires, subject
from .models import Draft, Sealed

__all__ = ["Versions"]


def _writes(query: Any, row: Any) -> list[Callable[[], Any]]:
    """All that writes one object."""
    return [
        lambda: query.update(row),
        lambda: query.update(row, {"text": "d"}),
        lambda: query.delete(row),
    ]


@subject("versions", Capability.WRITE)
class Versions(Harness):
    """API §1, ``version_id_col``."""

    def test_a_new_row_has_the_first_version(self, connect: Connect) -> None:
        db = connect(Draft, Sealed)
        drafts = db.query(Draft)
        assert drafts.insert(Draft(text="a")).version == 1
        assert drafts.insert({"text": "b"}).version == 1
        assert drafts.insert({"text": "c", "version": 7}).version == 7
        drafts.bulk_insert([{"text": "d"}, Draft(text="e")])
        assert [d.version for d in drafts.order_by("id").all()] == [1, 1, 7, 1, 1]
        assert len(db.query(Sealed).insert({}).seal) == 32

    def test_an_update_of_an_object_is_its_next_version(self, connect: Connect) -> None:
        db = connect(Draft, Sealed)
        draft = db.query(Draft).insert({"text": "a"})
        assert db.query(Draft).update(draft, {"text": "b"}).version == 2
        draft.text = "c"
        assert db.query(Draft).update(draft).version == 3
        assert db.query(Draft).update(draft, {"reads": Draft.reads + 1}).version == 4
        assert db.query(Draft).update(draft, {}).version == 4, "nothing was changed"
        found: Any = db.query(Draft).get(draft.id)
        assert (found.text, found.reads, found.version) == ("c", 1, 4)
        sealed = db.query(Sealed).insert({"text": "a"})
        before = sealed.seal
        assert db.query(Sealed).update(sealed, {"text": "b"}).seal != before
        assert db.query(Sealed).filter(seal=sealed.seal, text="b").count() == 1

    def test_a_row_that_was_changed_since_it_was_read_is_not_written_over(self, connect: Connect) -> None:
        db = connect(Draft, Sealed)
        for model in (Draft, Sealed):
            query: Any = db.query(model)
            mine, other = query.insert({"text": "a"}), query.first()
            query.update(other, {"text": "b"})
            mine.text = "c"
            for write in _writes(query, mine):
                with pytest.raises(ConflictError, match=f"{model.__name__} was changed since it was read"):
                    write()
            assert query.one().text == "b"
            assert mine.text == "c", "what was set on the object is still there"
            query.update(query.one(), {"text": "e"})
            assert query.delete(query.one()) is True

    def test_a_row_that_is_gone_is_gone_and_no_conflict(self, connect: Connect) -> None:
        query = connect(Draft).query(Draft)
        draft = query.insert({"text": "a"})
        query.filter(id=draft.id).delete()
        with pytest.raises(NotFoundError):
            query.update(draft, {"text": "b"})
        assert query.delete(draft) is False

    def test_a_filter_that_does_not_match_is_no_conflict(self, connect: Connect) -> None:
        query = connect(Draft).query(Draft)
        draft = query.insert({"text": "a"})
        with pytest.raises(NotFoundError):
            query.filter(text="z").update(draft, {"text": "b"})
        assert query.filter(text="z").delete(draft) is False
        assert query.filter(version=1).update(draft, {"text": "b"}).version == 2

    def test_an_update_of_a_query_is_the_next_version_of_each_row(self, connect: Connect) -> None:
        db = connect(Draft, Sealed)
        drafts = db.query(Draft)
        drafts.bulk_insert([{"text": "a"}, {"text": "a", "version": 5}, {"text": "z"}])
        read: Any = drafts.get(2)
        assert drafts.filter(text="a").update({"text": "b"}) == 2
        assert [d.version for d in drafts.order_by("id").all()] == [2, 6, 1]
        with pytest.raises(ConflictError):
            drafts.update(read, {"text": "c"})
        sealed = db.query(Sealed).insert({"text": "a"})
        assert db.query(Sealed).update({"text": "b"}, force=True) == 1
        with pytest.raises(ConflictError):
            db.query(Sealed).update(sealed, {"text": "c"})

    def test_one_of_many_that_read_the_same_version_wins(self, connect: Connect) -> None:
        query = connect(Draft).query(Draft)
        query.insert({"text": "a"})
        readers = [query.one() for _ in range(5)]
        outcomes = []
        for number, draft in enumerate(readers):
            try:
                query.update(draft, {"text": str(number)})
            except ConflictError as error:
                outcomes.append(error.retryable)
        assert outcomes == [True] * 4
        assert (query.one().text, query.one().version) == ("0", 2)

    def test_no_change_of_threads_that_read_and_write_is_lost(self, connect: Connect) -> None:
        db = connect(Draft)
        key = db.query(Draft).insert({"text": "a"}).id

        def count_five(_number: int) -> None:
            done = 0
            while done < 5:
                draft: Any = db.query(Draft).get(key)
                draft.reads += 1
                with suppress(ConflictError):
                    db.query(Draft).update(draft)
                    done += 1

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(count_five, range(4)))
        assert (db.query(Draft).one().reads, db.query(Draft).one().version) == (20, 21)

    def test_a_query_sets_a_version_by_hand(self, connect: Connect) -> None:
        query = connect(Draft).query(Draft)
        query.insert({"id": 1})
        assert query.filter(id=1).update({"version": 9}) == 1
        assert query.one().version == 9

    def test_an_objects_version_is_not_set_by_hand_and_must_be_known(self, alarmed: Connect) -> None:
        query = alarmed(Draft).query(Draft)
        read = Draft(id=1, text="a", version=3)
        for write in (
            lambda: query.update(read, {"version": 9}),
            lambda: query.update(Draft(id=1), {"text": "b"}),
            lambda: query.delete(Draft(id=1)),
        ):
            with pytest.raises(InvalidValueError, match="version"):
                write()

    def test_a_row_is_named_by_key_and_version_without_reading_it(self, connect: Connect) -> None:
        query = connect(Draft).query(Draft)
        query.insert({"id": 1, "text": "a"})
        assert query.update(Draft(id=1, version=1), {"text": "b"}).version == 2
        with pytest.raises(ConflictError):
            query.update(Draft(id=1, version=1), {"text": "c"})

    @requires(Capability.TRANSACTIONS)
    def test_a_conflict_of_versions_ends_the_transaction(self, connect: Connect) -> None:
        db = connect(Draft)
        stale = db.query(Draft).insert({"text": "a"})
        db.query(Draft).filter(id=stale.id).update({"text": "b"})
        with pytest.raises(ConflictError), db.transaction() as tx:  # noqa: PT012
            tx.query(Draft).insert({"text": "x"})
            with pytest.raises(ConflictError):
                tx.query(Draft).update(stale, {"text": "c"})
            with pytest.raises(UnsupportedOperationError):
                tx.query(Draft).count()
        assert [d.text for d in db.query(Draft).all()] == ["b"]

    @requires(Capability.SESSIONS)
    def test_a_session_and_the_verbs_heed_each_others_versions(self, connect: Connect) -> None:
        db = connect(Draft)
        mine = db.query(Draft).insert({"text": "a"})
        with db.session() as s:
            of_session: Any = s.get(Draft, mine.id)
            of_session.text = "b"
        assert of_session.version == 2
        with pytest.raises(ConflictError):
            db.query(Draft).update(mine, {"text": "c"})

        def late() -> None:
            with db.session() as s:
                of_session.text = "d"
                s.add(of_session)

        db.query(Draft).update(db.query(Draft).one(), {"text": "e"})
        with pytest.raises(ConflictError):
            late()
        assert (db.query(Draft).one().text, db.query(Draft).one().version) == ("e", 3)
