"""The requirement about joins, by its id; the others are in ``test_requirements_*.py``."""

from __future__ import annotations

import pytest
from seeds import EVERYWHERE, Connect, Conversation, Message, User, connect, entry, fill_history, on

import db_plugins

__all__ = ["connect", "entry"]

pytestmark = pytest.mark.skipif(
    not hasattr(db_plugins.BaseQuery, "join"), reason="join, any and has are not there yet"
)


@on(*EVERYWHERE)
def test_messages_are_found_over_two_hops(connect: Connect) -> None:
    """004-26: messages by the email of their user: 18 of 36."""
    db = connect(User, Conversation, Message)
    fill_history(db)
    messages = db.query(Message)
    joined = messages.join(Message.conversation, Conversation.user).filter(User.email == "ann@x.org")
    assert joined.count() == 18
    assert [m.id for m in joined.order_by(User.email, Message.id).all()] == list(range(1, 19))
    assert messages.count() == 36


@on(*EVERYWHERE)
def test_messages_are_found_over_two_hops_by_has_and_any(connect: Connect) -> None:
    """004-26: the same without a join."""
    db = connect(User, Conversation, Message)
    fill_history(db)
    of_ann = Message.conversation.has(Conversation.user.has(User.email == "ann@x.org"))
    assert [m.id for m in db.query(Message).filter(of_ann).order_by("id").all()] == list(range(1, 19))
    wrote = User.conversations.any(Conversation.messages.any(Message.id == 19))
    assert [user.name for user in db.query(User).filter(wrote).all()] == ["ben"]
