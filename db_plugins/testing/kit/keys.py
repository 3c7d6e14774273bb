"""Numbered keys: 1, 2, 3; moved on by keys given by hand; never the same twice."""

from __future__ import annotations

import threading

from sqlalchemy.orm import Mapped, mapped_column

from db_plugins import Capability

from .harness import Connect, Harness, subject
from .models import Badge, Base, Pair, Star

__all__ = ["Keys"]


class Ticket(Base):
    """Nothing but a numbered key."""

    __tablename__ = "kit_ticket"
    id: Mapped[int] = mapped_column(primary_key=True)


@subject("keys", Capability.WRITE)
class Keys(Harness):
    """API §1, keys."""

    def test_keys_left_out_are_numbered_from_1(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        assert [query.insert({"name": n}).id for n in "abc"] == [1, 2, 3]
        assert query.bulk_insert([{"name": n} for n in "defg"], return_keys=True).keys == (4, 5, 6, 7)
        assert query.insert({"name": "h", "id": None}).id == 8

    def test_a_row_may_be_nothing_but_its_number(self, connect: Connect) -> None:
        query = connect(Ticket).query(Ticket)
        assert query.insert({}).id == 1
        assert query.bulk_insert([{}, {}, {}], return_keys=True).keys == (2, 3, 4)
        assert query.bulk_insert([{}, {}]).inserted == 2
        assert query.bulk_insert([{}]).inserted == 1
        assert [ticket.id for ticket in query.order_by("id").all()] == [1, 2, 3, 4, 5, 6, 7]

    def test_keys_given_by_hand_move_the_numbering(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        assert query.insert({"name": "a", "id": 10}).id == 10
        assert query.insert({"name": "b"}).id == 11
        query.bulk_insert([{"name": "c", "id": 30}, {"name": "d", "id": 20}])
        assert query.insert({"name": "e"}).id == 31
        assert query.insert({"name": "f", "id": 5}).id == 5
        assert query.insert({"name": "g"}).id == 32

    def test_a_key_is_never_given_twice(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        query.bulk_insert([{"name": n} for n in "abc"])
        assert query.filter(id=3).delete() == 1
        assert query.insert({"name": "d"}).id == 4
        query.delete(force=True)
        assert query.insert({"name": "e"}).id == 5

    def test_zero_and_negative_keys_are_keys(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        assert [query.insert({"name": str(k), "id": k}).id for k in (0, -5)] == [0, -5]
        assert [s.id for s in query.limit(9).all()] == [-5, 0]
        assert query.get(0).name == "0"  # type: ignore[union-attr]
        assert query.insert({"name": "next"}).id >= 1

    def test_keys_of_text_and_composite_keys_are_as_given(self, connect: Connect) -> None:
        db = connect(Badge, Pair)
        assert db.query(Badge).bulk_insert([{"code": c} for c in "ba"], return_keys=True).keys == ("b", "a")
        pairs = [(2, "x"), (1, "y")]
        given = [{"left": n, "right": r} for n, r in pairs]
        assert db.query(Pair).bulk_insert(given, return_keys=True).keys == tuple(pairs)

    def test_threads_get_keys_of_their_own(self, connect: Connect) -> None:
        db = connect(Star)
        keys: list[int] = []
        failures: list[BaseException] = []

        def work(thread: int) -> None:
            try:
                for n in range(5):
                    keys.append(db.query(Star).insert({"name": f"{thread}-{n}"}).id)
                    keys.extend(
                        db.query(Star)
                        .bulk_insert([{"name": f"{thread}-{n}-{m}"} for m in range(3)], return_keys=True)
                        .keys
                    )
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(keys) == len(set(keys)) == db.query(Star).count() == 80
