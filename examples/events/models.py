"""Two tables, "users" and "events", and the Pydantic models of them. On MongoDB they are collections."""

import enum

from sqlalchemy import Column, Date, Enum, ForeignKey, Integer, String
from sqlalchemy.orm import relationship

from db_plugins.models import schemas

from .database import Base


class User(Base):
    __tablename__ = "users"

    id = Column(Integer, primary_key=True)
    email = Column(String(120), unique=True, index=True, nullable=False)

    owner = relationship("Event", back_populates="organizer")  # the events of this user, a list


class SocialStatus(enum.Enum):
    public = "public"
    private = "private"


class Event(Base):
    __tablename__ = "events"

    id = Column(Integer, primary_key=True)
    title = Column(String(200), index=True, nullable=False)
    date_of = Column(Date)
    social_status = Column(Enum(SocialStatus), default=SocialStatus.private, nullable=False)
    organizer_id = Column(Integer, ForeignKey("users.id"), index=True)

    organizer = relationship("User", back_populates="owner")


UserCreate, _, UserRead = schemas(User)
EventCreate, EventUpdate, EventRead = schemas(Event, create_exclude=["organizer_id"])


class EventWithOrganizer(EventRead):
    """An event together with its organizer."""

    organizer: UserRead | None
