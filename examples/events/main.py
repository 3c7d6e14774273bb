"""The entry point of the API: the same file on SQLite, PostgreSQL, MariaDB and MongoDB.

DATABASE_URL=sqlite+pysqlite:///:memory: uvicorn examples.events.main:app
DATABASE_URL=sqlite:///events.db uvicorn examples.events.main:app
DATABASE_URL=postgresql://ann:secret@localhost/events uvicorn examples.events.main:app
DATABASE_URL=mongodb://localhost/events uvicorn examples.events.main:app
"""

from typing import Annotated, Any

from fastapi import Depends, FastAPI

from db_plugins import NotFoundError
from db_plugins.fastapi import Page, PageParams, add_error_handlers, database, health_router, page_params

from .database import Db
from .models import Event, EventCreate, EventRead, EventUpdate, EventWithOrganizer, User, UserCreate, UserRead

app = FastAPI(title="Events", lifespan=database(models=[User, Event], create_all=True))
add_error_handlers(app)
app.include_router(health_router)

#: ?page=2&sort=-date_of&social_status=public
Chosen = Annotated[
    PageParams,
    Depends(page_params(sort=[Event.date_of, Event.title], filters=[Event.social_status], default="date_of")),
]


@app.post("/users", response_model=UserRead, status_code=201)
def add_user(user: UserCreate, db: Db) -> Any:
    return db.query(User).insert(user)


@app.get("/users/{user_id}/events", response_model=list[EventRead])
def events_of(user_id: int, db: Db) -> Any:
    return db.query(User).include(User.owner).filter(id=user_id).one().owner  # nobody of this id: a 404


@app.post("/users/{user_id}/events", response_model=EventRead, status_code=201)
def plan_event(user_id: int, event: EventCreate, db: Db) -> Any:
    values = event.model_dump(exclude_unset=True)
    return db.query(Event).insert({**values, "organizer_id": user_id})  # nobody of this id: a 409


@app.get("/events", response_model=Page[EventRead])
def list_events(db: Db, chosen: Chosen) -> Any:
    return chosen.paginate(db.query(Event))


@app.get("/events/{event_id}", response_model=EventWithOrganizer)
def read_event(event_id: int, db: Db) -> Any:
    return db.query(Event).include(Event.organizer).filter(id=event_id).one()


@app.patch("/events/{event_id}", response_model=EventRead)
def change_event(event_id: int, values: EventUpdate, db: Db) -> Any:
    return db.query(Event).update(db.query(Event).filter(id=event_id).one(), values)


@app.delete("/events/{event_id}", status_code=204)
def cancel_event(event_id: int, db: Db) -> None:
    if not db.query(Event).filter(id=event_id).delete():
        raise NotFoundError("there is no such event")
