"""Tables: made, found, dropped; and the plugin itself: found by its name."""

from __future__ import annotations

from typing import Any

import pytest

from db_plugins import Capability, Database, registry
from db_plugins.errors import ConfigError, EngineNotFoundError, InvalidValueError, UnsupportedOperationError

from .harness import Connect, Harness, requires, subject
from .models import Animal, Author, Book, Dog, Pair, Star

__all__ = ["Storage"]


@subject("storage")
class Storage(Harness):
    """API §3 and §9."""

    def test_the_plugin_is_found_by_its_entry_point(self, alarmed: Connect) -> None:
        found = registry.find(self.plugin)
        assert found is not None, (
            f"no installed distribution has the entry point {self.plugin!r} of the group db_plugins"
        )
        assert self.plugin in registry.known_names()
        db = alarmed(Star)
        assert isinstance(db._engine, registry.load_engine(self.plugin))

    def test_a_database_says_what_it_is(self, alarmed: Connect, entry: dict[str, Any]) -> None:
        db = alarmed(Star)
        assert db.engine
        assert db.engine == db.engine.lower()
        assert db.capabilities <= frozenset(Capability)
        assert db.name == "default"
        assert "Database" in repr(db)
        secret = str(entry.get("PASSWORD") or "no password at all")
        assert secret not in repr(db)

    def test_an_unknown_key_of_the_settings_is_reported_with_the_nearest(self, entry: dict[str, Any]) -> None:
        import db_plugins

        with pytest.raises(ConfigError, match="CONNECT_TIMEOUT"):
            db_plugins.connect({**entry, "CONNECT_TIMEOUTS": 5})
        with pytest.raises(EngineNotFoundError, match="PLUGIN"):
            db_plugins.connect({**entry, "PLUGIN": "no-such-plugin"})

    @requires(Capability.WRITE)
    def test_create_all_can_be_repeated_and_keeps_rows(self, connect: Connect) -> None:
        db = connect(Star, Pair)
        db.query(Star).insert({"name": "a"})
        db.create_all()
        db.create_all()
        assert db.query(Star).one().name == "a"
        assert db.query(Star).insert({"name": "b"}).id == 2

    @requires(Capability.WRITE)
    def test_drop_all_refuses_while_there_are_rows(self, connect: Connect) -> None:
        db = connect(Star, Pair)
        db.query(Star).insert({"name": "a"})
        with pytest.raises(UnsupportedOperationError, match=r"Star.*force"):
            db.drop_all()
        assert db.query(Star).count() == 1
        db.query(Star).delete(force=True)
        db.drop_all()
        assert db.ping().missing[:2] == ("Star", "Pair")

    @requires(Capability.WRITE)
    def test_drop_all_by_force_drops_the_models_own_tables_and_can_be_repeated(
        self, connect: Connect
    ) -> None:
        db, other = connect(Author, Book), None
        db.query(Author).insert({"name": "Ann"})
        db.query(Book).insert({"title": "a", "author_id": 1})
        db.drop_all(force=True)
        db.drop_all(force=True)
        assert db.ping().models == ()
        db.create_all()
        assert (db.query(Author).count(), db.query(Book).count(), other) == (0, 0, None)

    @requires(Capability.WRITE)
    def test_classes_of_one_table_make_it_once(self, connect: Connect) -> None:
        db = connect(Dog, Animal)
        db.query(Dog).insert({"name": "Rex"})
        with pytest.raises(UnsupportedOperationError, match="Animal"):
            db.drop_all()
        db.drop_all(force=True)
        assert "Animal" in db.ping().missing

    @requires(Capability.WRITE)
    def test_ping_tells_version_latency_and_models(self, connect: Connect) -> None:
        health = connect(Star, Pair).ping()
        assert health.ok is True
        assert health.version
        assert 0 <= health.latency < 30
        assert health.models == ("Star", "Pair")
        assert "Star" not in health.missing

    @requires(Capability.WRITE)
    def test_ping_names_what_is_missing_and_makes_nothing(self, connect: Connect) -> None:
        connect(Star).drop_all()
        db = connect(Star)
        db.drop_all()
        for _ in range(2):
            health = db.ping()
            assert health.ok is False
            assert (health.models, health.missing[:1]) == ((), ("Star",))

    def test_without_any_model_create_all_is_a_config_error(
        self, connect: Connect, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="MODELS"):
            connect().create_all()

    @requires(Capability.WRITE)
    def test_close_can_be_repeated_and_the_database_used_again(
        self, connect: Connect, entry: dict[str, Any]
    ) -> None:
        db = connect(Star)
        with db as same:
            assert same is db
            same.query(Star).insert({"name": "a"})
        db.close()
        db.close()
        db.create_all()  # what lived in memory alone is gone with its connection
        assert db.query(Star).count() in (0, 1)

    def test_a_query_of_what_is_no_model_reaches_nothing(self, alarmed: Connect) -> None:
        db: Database = alarmed()
        with pytest.raises(InvalidValueError):
            db.query(dict)
