"""``delete`` takes with it what the model's relationships say, to any depth, and leaves all else as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import ForeignKeyError, NotNullError, UnsupportedOperationError
from db_plugins.models.links import link_model
from db_plugins.query import BaseQuery

from .family_models import (
    Boat,
    Branch,
    Chain,
    Desk,
    Engineer,
    Entry,
    Guild,
    Guildsman,
    Hall,
    Harbour,
    Leaf,
    Ledger,
    Left,
    Letter,
    Link,
    Locker,
    Mark,
    Mooring,
    Note,
    Operator,
    Orchestrator,
    Owner,
    Pet,
    Project,
    Right,
    Sender,
    Ship,
    Speech,
    Staff,
    Stray,
    Tag,
    Task,
    Tool,
    Twig,
    Work,
    tags_of,
    tools_of,
)
from .harness import Connect, Harness, subject
from .transactions import Stop

__all__ = ["Cascades"]

HOUSEHOLD = (Orchestrator, Operator, Speech, Project, Task, Note, Tool)
HARBOUR = (Harbour, Ship, Letter, Boat, Mooring)
STAFF = (Guild, Staff, Engineer, Guildsman, Work)


def fill(db: Database, model: type, *rows: dict[str, Any]) -> None:
    """Store rows of one shape."""
    db.query(model).bulk_insert(rows)


def fill_household(db: Database) -> None:
    """Two orchestrators, each with two operators of two speeches, two projects of two tasks and a note, two tools."""
    fill(db, Tool, *({"id": n, "name": f"tool {n}"} for n in (1, 2, 3)))
    for n in (1, 2):
        fill(db, Orchestrator, {"id": n, "name": f"o{n}"})
        fill(db, link_model(tools_of), *({"orchestrator": n, "tool": tool} for tool in (n, n + 1)))
        for k in (10 * n, 10 * n + 1):
            fill(db, Operator, {"id": k, "orchestrator_id": n})
            fill(db, Speech, *({"operator_id": k} for _ in range(2)))
            fill(db, Project, {"id": k, "orchestrator_id": n})
            fill(db, Task, *({"project_id": k} for _ in range(2)))
            fill(db, Note, {"id": k, "project_id": k})


def counts(db: Database, *models: type) -> list[int]:
    """How many rows there are of each."""
    return [db.query(model).count() for model in models]


def ids(db: Database, model: Any) -> list[Any]:
    """The keys that are there."""
    return [row["id"] for row in db.query(model).order_by("id").to_dicts("id")]


def refused(error: type[Exception], words: str, delete: Callable[[], Any]) -> Any:
    """The error of a delete that must fail."""
    with pytest.raises(error, match=words) as caught:
        delete()
    return caught.value


@subject("cascades", Capability.WRITE)
class Cascades(Harness):
    """API §4, delete: what goes with a row."""

    @pytest.fixture
    def household(self, connect: Connect) -> Database:
        db = connect(*HOUSEHOLD)
        fill_household(db)
        return db

    @pytest.mark.parametrize("way", ["query", "object"])
    def test_children_go_to_any_depth(self, household: Database, way: str) -> None:
        query = household.query(Orchestrator)
        if way == "query":
            assert query.filter(name="o1").delete() == 1
        else:
            first = query.get(1)
            assert first is not None
            assert query.delete(first) is True
            assert query.delete(first) is False
        assert counts(household, Orchestrator, Operator, Speech, Project, Task) == [1, 2, 4, 2, 4]
        assert ids(household, Operator) == ids(household, Project) == [20, 21]
        assert query.filter(name="o1").delete() == 0

    def test_link_rows_go_and_the_tools_stay(self, household: Database) -> None:
        links: BaseQuery[Any] = household.query(link_model(tools_of))
        household.query(Orchestrator).filter(id=1).delete()
        assert links.to_dicts() == [{"orchestrator": 2, "tool": 2}, {"orchestrator": 2, "tool": 3}]
        assert ids(household, Tool) == [1, 2, 3]
        assert household.query(Tool).filter(name="tool 2").delete() == 1
        assert links.to_dicts() == [{"orchestrator": 2, "tool": 3}]
        assert ids(household, Orchestrator) == [2]

    def test_other_children_stay_without_their_parent(self, household: Database) -> None:
        assert household.query(Project).filter(Project.id.in_([10, 21])).delete() == 2
        found = household.query(Note).order_by("id").to_dicts("id", "project_id", "version")
        assert [row["project_id"] for row in found] == [None, 11, 20, None]
        assert [row["version"] for row in found] == [2, 1, 1, 2], "an update that heeds onupdate"
        household.query(Orchestrator).delete(force=True)
        assert household.query(Note).filter(project_id=None).count() == 4

    def test_all_that_a_query_names_goes(self, household: Database) -> None:
        assert household.query(Orchestrator).delete(force=True) == 2
        assert counts(household, *HOUSEHOLD[:5], link_model(tools_of)) == [0] * 6
        assert counts(household, Note, Tool) == [4, 3]

    def test_a_condition_about_the_children_is_asked_before_they_go(self, household: Database) -> None:
        household.query(Speech).filter(operator_id=10).delete()
        assert household.query(Operator).filter(Operator.speeches.any(Speech.id > 0)).delete() == 3
        assert ids(household, Operator) == [10]

    def test_delete_of_an_object_heeds_the_filter_and_spares_its_children(self, household: Database) -> None:
        first = household.query(Orchestrator).get(1)
        assert first is not None
        assert household.query(Orchestrator).filter(name="o2").delete(first) is False
        assert counts(household, *HOUSEHOLD[:5]) == [2, 4, 8, 4, 8]

    def test_a_child_that_cannot_lose_its_parent_is_named_and_nothing_changes(self, connect: Connect) -> None:
        db = connect(Ledger, Mark, Entry)
        fill(db, Ledger, {"id": 1}, {"id": 2})
        fill(db, Mark, {"ledger_id": 1}, {"ledger_id": 2})
        fill(db, Entry, {"ledger_id": 2})
        query = db.query(Ledger)
        second = query.get(2)
        assert second is not None
        deletes: list[Callable[[], Any]] = [
            lambda: query.filter(id=2).delete(),
            lambda: query.delete(second),
            lambda: query.delete(force=True),
        ]
        for delete in deletes:
            error = refused(NotNullError, r"Entry\.ledger_id", delete)
            assert (error.attributes, error.engine) == (("ledger_id",), db.engine)
            assert counts(db, Ledger, Mark, Entry) == [2, 2, 1]
        assert query.filter(id=1).delete() == 1
        assert counts(db, Ledger, Mark, Entry) == [1, 1, 1]

    # -- rows that refer to rows of their own table ----------------------------------------------------------------

    def test_a_tree_goes_from_its_leaves(self, connect: Connect) -> None:
        db = connect(Branch, Leaf)
        for n, on in [(1, None), (2, 1), (3, 2), (4, 3), (5, 1), (6, None), (7, 6)]:
            fill(db, Branch, {"id": n, "on_id": on, "rank": n})
        fill(db, Leaf, *({"branch_id": n} for n in (1, 4, 4, 6)))
        assert db.query(Branch).filter(id=2).delete() == 1
        assert ids(db, Branch) == [1, 5, 6, 7]
        assert db.query(Leaf).count() == 2
        assert db.query(Branch).filter(Branch.rank < 6).delete() == 2
        assert db.query(Branch).delete(force=True) == 2
        assert counts(db, Branch, Leaf) == [0, 0]

    def test_parent_and_child_in_one_query_count_both(self, connect: Connect) -> None:
        db = connect(Twig)
        for n, on in [(1, None), (2, 1), (3, 2), (4, 3)]:
            fill(db, Twig, {"id": n, "on_id": on})
        assert db.query(Twig).filter(Twig.on_id.is_not(None), Twig.id < 4).delete() == 2
        assert db.query(Twig).order_by("id").to_dicts("id", "on_id") == [
            {"id": 1, "on_id": None},
            {"id": 4, "on_id": None},
        ]

    def test_a_circle_of_rows_has_an_end(self, connect: Connect) -> None:
        db = connect(Branch, Leaf, Left, Right)
        fill(db, Branch, {"id": 1}, {"id": 2}, {"id": 3}, {"id": 4})
        for n, on in [(1, 3), (2, 1), (3, 2), (4, 4)]:
            db.query(Branch).filter(id=n).update({"on_id": on})
        assert db.query(Branch).filter(Branch.id.in_([1, 4])).delete() == 2
        assert ids(db, Branch) == []
        fill(db, Left, {"id": 1}, {"id": 2})
        fill(db, Right, {"id": 1, "left_id": 1})
        db.query(Left).filter(id=1).update({"right_id": 1})
        assert db.query(Left).filter(right_id=1).delete() == 1
        assert (ids(db, Left), ids(db, Right)) == ([2], [])

    def test_thousands_of_rows_go_in_batches(self, connect: Connect) -> None:
        db = connect(Branch, Leaf)
        fill(db, Branch, {"id": 1})
        fill(db, Branch, *({"id": n, "on_id": 1} for n in range(2, 1203)))
        fill(db, Leaf, *({"branch_id": n} for n in range(1, 1203)))
        assert db.query(Branch).filter(id=1).delete() == 1
        assert counts(db, Branch, Leaf) == [0, 0]

    # -- other kinds -----------------------------------------------------------------------------------------------

    def test_composite_keys(self, connect: Connect) -> None:
        db = connect(Hall, Desk, Locker)
        halls = [{"house": house, "floor": floor} for house in "ab" for floor in (1, 2)]
        fill(db, Hall, *halls)
        fill(db, Desk, *halls)
        fill(db, Locker, *halls, {"house": None, "floor": 1})
        assert db.query(Hall).filter(house="a").delete() == 2
        assert db.query(Desk).order_by("id").to_dicts("house", "floor") == halls[2:]
        assert db.query(Locker).filter(house=None, floor=None).count() == 2
        assert db.query(Locker).filter(house="b").count() == 2

    def test_one_to_one_and_a_relationship_that_another_covers(self, connect: Connect) -> None:
        db = connect(Owner, Pet, Stray)
        fill(db, Owner, {"id": 1}, {"id": 2})
        fill(db, Pet, {"id": 1, "owner_id": 1, "age": 12}, {"id": 2, "owner_id": 2, "age": 1})
        assert db.query(Owner).filter(id=1).delete() == 1
        assert ids(db, Pet) == [2]

    def test_a_parent_goes_after_its_child_if_the_cascade_says_so(self, connect: Connect) -> None:
        db = connect(Owner, Pet, Stray)
        fill(db, Owner, {"id": 1}, {"id": 2})
        fill(db, Pet, {"id": 1, "owner_id": 1})
        fill(db, Stray, {"id": 1, "owner_id": 1}, {"id": 2, "owner_id": None})
        assert db.query(Stray).delete(force=True) == 2
        assert (ids(db, Owner), ids(db, Pet)) == ([2], [])

    def test_a_cascade_over_a_link_table_takes_the_others_too(self, connect: Connect) -> None:
        db = connect(Sender, Tag)
        fill(db, Sender, {"id": 1}, {"id": 2})
        fill(db, Tag, {"id": 1}, {"id": 2}, {"id": 3})
        fill(
            db,
            link_model(tags_of),
            *({"sender": s, "tag": t} for s, t in [(1, 1), (1, 2), (2, 2), (2, 3)]),
        )
        assert db.query(Sender).filter(id=1).delete() == 1
        assert (ids(db, Sender), ids(db, Tag)) == ([2], [3])
        assert db.query(link_model(tags_of)).to_dicts() == [{"sender": 2, "tag": 3}]

    def test_relationships_of_a_subclass_are_about_its_rows(self, connect: Connect) -> None:
        db = connect(*STAFF)
        fill(db, Engineer, {"id": 1}, {"id": 2})
        fill(db, Guildsman, {"id": 3})
        fill(db, Work, {"id": 1, "engineer_id": 1}, {"id": 2, "engineer_id": 2})
        assert db.query(Staff).filter(Staff.id.in_([1, 3])).delete() == 2
        assert (ids(db, Staff), ids(db, Work)) == ([2], [2])
        assert db.query(Engineer).delete(force=True) == 1
        assert counts(db, Staff, Work) == [0, 0]

    def test_rows_of_another_class_are_not_the_relationships(self, connect: Connect) -> None:
        db = connect(*STAFF)
        fill(db, Guild, {"id": 1}, {"id": 2})
        fill(db, Guildsman, {"id": 1, "guild_id": 1}, {"id": 2, "guild_id": 2})
        fill(db, Engineer, {"id": 3, "guild_id": 2})
        assert db.query(Guild).filter(id=1).delete() == 1
        assert db.query(Guildsman).filter(guild_id=None).count() == 1
        refused(ForeignKeyError, r"Staff\.guild_id", lambda: db.query(Guild).filter(id=2).delete())
        assert db.query(Staff).filter(guild_id=2).count() == 2

    def test_a_condition_that_delete_cannot_follow_is_refused_by_name(self, connect: Connect) -> None:
        db = connect(Link, Chain)
        fill(db, Link, {"id": 1})
        refused(UnsupportedOperationError, r"Link\.long", lambda: db.query(Link).filter(id=1).delete())
        assert ids(db, Link) == [1]

    # -- left to the database --------------------------------------------------------------------------------------

    def test_passive_deletes_leave_it_to_ondelete(self, connect: Connect) -> None:
        db = connect(*HARBOUR)
        fill(db, Harbour, {"id": 1}, {"id": 2})
        fill(db, Ship, {"id": 1, "harbour_id": 1}, {"id": 2, "harbour_id": 2})
        fill(db, Letter, {"id": 1, "ship_id": 1}, {"id": 2, "ship_id": 2})
        fill(db, Boat, {"id": 1, "harbour_id": 1}, {"id": 2, "harbour_id": 2})
        assert db.query(Harbour).filter(id=1).delete() == 1
        assert (ids(db, Ship), ids(db, Letter)) == ([2], [2])
        assert [b["harbour_id"] for b in db.query(Boat).order_by("id").to_dicts("harbour_id")] == [None, 2]

    def test_ondelete_restrict_refuses_and_nothing_changes(self, connect: Connect) -> None:
        db = connect(*HARBOUR)
        fill(db, Harbour, {"id": 1})
        fill(db, Ship, {"id": 1, "harbour_id": 1})
        fill(db, Boat, {"id": 1, "harbour_id": 1})
        fill(db, Mooring, {"id": 1, "harbour_id": 1})
        error = refused(
            ForeignKeyError,
            r"Harbour is still referred to by Mooring\.harbour_id",
            lambda: db.query(Harbour).filter(id=1).delete(),
        )
        assert (error.attributes, error.engine) == (("harbour_id",), db.engine)
        assert counts(db, Harbour, Ship, Boat, Mooring) == [1, 1, 1, 1]
        assert db.query(Boat).filter(harbour_id=1).exists()


@subject("cascades", Capability.WRITE, Capability.TRANSACTIONS)
class CascadesTogether(Harness):
    """All or nothing, and a part of what it is called in."""

    def test_a_delete_is_undone_with_its_transaction(self, connect: Connect) -> None:
        db = connect(*HOUSEHOLD)
        fill_household(db)

        def delete_and_stop() -> None:
            with db.transaction() as tx:
                assert tx.query(Orchestrator).filter(id=1).delete() == 1
                assert counts(tx, Operator, Speech, link_model(tools_of)) == [2, 4, 2]
                raise Stop

        with pytest.raises(Stop):
            delete_and_stop()
        assert counts(db, *HOUSEHOLD[:5], link_model(tools_of)) == [2, 4, 8, 4, 8, 4]
        with db.transaction() as tx:
            tx.query(Orchestrator).filter(id=1).delete()
        assert counts(db, *HOUSEHOLD[:5], link_model(tools_of)) == [1, 2, 4, 2, 4, 2]

    def test_after_a_refusal_the_transaction_can_only_be_left(self, connect: Connect) -> None:
        db = connect(Ledger, Mark, Entry)
        fill(db, Ledger, {"id": 1})
        fill(db, Mark, {"ledger_id": 1})
        fill(db, Entry, {"ledger_id": 1})

        def go_on_after_it() -> None:
            with db.transaction() as tx:
                refused(NotNullError, "ledger_id", lambda: tx.query(Ledger).filter(id=1).delete())
                refused(UnsupportedOperationError, "NotNullError", lambda: tx.query(Ledger).count())

        refused(NotNullError, "ledger_id", go_on_after_it)
        assert counts(db, Ledger, Mark, Entry) == [1, 1, 1]


@subject("cascades", Capability.WRITE, Capability.SESSIONS)
class CascadesAsSession(Harness):
    """``Session.delete`` is what delete is measured by."""

    def test_the_same_rows_are_left_as_after_session_delete(self, connect: Connect) -> None:
        db = connect(*HOUSEHOLD, Branch, Leaf, Hall, Desk, Locker, Sender, Tag, *STAFF)
        models: list[Any] = [*HOUSEHOLD, Branch, Leaf, Hall, Desk, Locker, Sender, Tag, Staff, Work, Guild]
        models += [link_model(tools_of), link_model(tags_of)]

        def fill_all() -> None:
            for model in reversed(models):
                db.query(model).delete(force=True)
            fill_household(db)
            for n, on in [(1, None), (2, 1), (3, 2)]:
                fill(db, Branch, {"id": n, "on_id": on})
            fill(db, Leaf, {"id": 1, "branch_id": 3}, {"id": 2, "branch_id": 1})
            fill(db, Hall, {"house": "a", "floor": 1}, {"house": "a", "floor": 2})
            fill(db, Desk, {"id": 1, "house": "a", "floor": 1}, {"id": 2, "house": "a", "floor": 2})
            fill(db, Locker, {"id": 1, "house": "a", "floor": 1}, {"id": 2, "house": "a", "floor": 2})
            fill(db, Sender, {"id": 1}, {"id": 2})
            fill(db, Tag, {"id": 1}, {"id": 2})
            fill(db, link_model(tags_of), {"sender": 1, "tag": 1}, {"sender": 2, "tag": 2})
            fill(db, Guild, {"id": 1})
            fill(db, Engineer, {"id": 1})
            fill(db, Guildsman, {"id": 2, "guild_id": 1})
            fill(db, Work, {"id": 1, "engineer_id": 1})

        def left() -> dict[str, Any]:
            found = {}
            for model in models:
                rows = db.query(model).to_dicts()
                if model in (Speech, Task):  # numbered, and so never the same twice
                    rows = [{**row, "id": None} for row in rows]
                found[model.__name__] = sorted(map(repr, rows))
            return found

        for model, key in [
            (Orchestrator, 1),
            (Project, 10),
            (Tool, 2),
            (Branch, 2),
            (Hall, ("a", 1)),
            (Sender, 1),
            (Staff, 1),
            (Guild, 1),
        ]:
            fill_all()
            with db.session() as s:
                s.delete(s.get(model, key))
            by_session = left()
            fill_all()
            row: Any = db.query(model).get(key)
            assert db.query(model).delete(row) is True
            assert left() == by_session, model

    def test_a_delete_joins_the_session(self, connect: Connect) -> None:
        db = connect(*HOUSEHOLD)
        fill_household(db)

        def delete_and_stop() -> None:
            with db.session() as s:
                s.add(Operator(id=50, orchestrator_id=1))
                assert db.query(Orchestrator).filter(id=1).delete() == 1
                assert counts(db, Orchestrator, Operator) == [1, 2]
                raise Stop

        with pytest.raises(Stop):
            delete_and_stop()
        assert counts(db, *HOUSEHOLD[:5]) == [2, 4, 8, 4, 8]
