"""The application's own tests."""

from models import Shield
from sqlalchemy import select


def test_a_shield_has_defaults(db_session):
    db_session.add(Shield(name="Dragon Scale Shield"))
    db_session.commit()
    shield = db_session.scalars(select(Shield)).one()
    assert (shield.defense_rating, shield.material, shield.enchantment) == (10, "iron", None)


def test_what_was_committed_is_gone(db_session):
    assert db_session.scalars(select(Shield)).all() == []


def test_what_a_nested_block_kept_is_gone_too(db_session):
    with db_session.begin_nested():
        db_session.add(Shield(name="Buckler"))
    db_session.rollback()
    assert db_session.scalars(select(Shield)).all() == []


def test_the_endpoint_answers_with_the_id(client, db):
    answer = client.post("/shields", json={"name": "Aegis", "enchantment": "fire"})
    assert (answer.status_code, answer.json()) == (201, {"id": 1, "name": "Aegis"})
    assert db.query(Shield).one().enchantment == "fire"


def test_tempering_too_hard_changes_nothing(client, db):
    db.query(Shield).bulk_insert([{"name": "Aegis", "defense_rating": 90}, {"name": "Buckler"}])
    assert client.post("/temper/iron", params={"more": 20}).status_code == 409
    assert [shield.defense_rating for shield in db.query(Shield).order_by("name").all()] == [90, 10]
