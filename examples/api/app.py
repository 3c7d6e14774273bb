"""An observatory's web application: the same file on SQLite, PostgreSQL, MariaDB and MongoDB.

    DATABASE_URL=sqlite:///observatory.db uvicorn examples.api.app:app
    DATABASE_URL=postgresql://ann:secret@localhost/observatory uvicorn examples.api.app:app
    DATABASE_URL=mongodb://localhost/observatory uvicorn examples.api.app:app

Endpoints that are a plain ``def`` take ``Db``, those that are ``async def`` take ``AsyncDb``; an application may have
either or both. ``POST /catalogue`` uses a SQLAlchemy Session, which only SQL engines have: elsewhere it answers 501.
"""

# No "from __future__ import annotations": the Pydantic models are made, so that only their objects can be the annotations.

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from sqlalchemy.orm import Session

from db_plugins import AsyncDatabase, Database, NotFoundError
from db_plugins.fastapi import (
    CursorPage,
    CursorParams,
    ErrorBody,
    Page,
    PageParams,
    add_error_handlers,
    database,
    get_async_db,
    get_db,
    get_session,
    health_router,
    page_params,
)

from .models import Sighting, SightingCreate, SightingRead, Star, StarCreate, StarRead, StarUpdate

app = FastAPI(
    title="Observatory",
    lifespan=database(models=[Star, Sighting], create_all=True),
    responses={404: {"model": ErrorBody}, 409: {"model": ErrorBody}},
)
add_error_handlers(app)
app.include_router(health_router)

Db = Annotated[Database, Depends(get_db)]
AsyncDb = Annotated[AsyncDatabase, Depends(get_async_db)]
#: ?page=2&sort=-mag&colour=RED
Chosen = Annotated[
    PageParams, Depends(page_params(sort=[Star.name, Star.mag], filters=[Star.colour], default="name"))
]
#: ?cursor=…&sort=-mag
Feed = Annotated[CursorParams, Depends(page_params(sort=[Star.mag], default="mag", per_page=5, cursor=True))]


@app.get("/stars", response_model=Page[StarRead])
async def list_stars(db: AsyncDb, chosen: Chosen) -> Any:
    return await chosen.paginate(db.query(Star))


@app.get("/feed", response_model=CursorPage[StarRead])
async def feed(db: AsyncDb, params: Feed) -> Any:
    return await params.cursor_paginate(db.query(Star).filter(Star.mag.is_not(None)))


@app.post("/stars", response_model=StarRead, status_code=201)
def add_star(star: StarCreate, db: Db) -> Any:  # type: ignore[valid-type]
    return db.query(Star).insert(star)


@app.get("/stars/{name}", response_model=StarRead)
async def read_star(name: str, db: AsyncDb) -> Any:
    return await db.query(Star).filter(name=name).one()  # NotFoundError is the 404


@app.patch("/stars/{name}", response_model=StarRead)
def change_star(name: str, values: StarUpdate, db: Db) -> Any:  # type: ignore[valid-type]
    return db.query(Star).update(db.query(Star).filter(name=name).one(), values)


@app.delete("/stars/{name}", status_code=204)
def remove_star(name: str, db: Db) -> None:
    if not db.query(Star).filter(name=name).delete():  # with its sightings, on every engine
        raise NotFoundError("there is no star of this name")


@app.post("/stars/{name}/sightings", response_model=SightingRead, status_code=201)
async def see_star(name: str, sighting: SightingCreate, db: AsyncDb) -> Any:  # type: ignore[valid-type]
    """Both rows or none. Of two requests at the same moment one may lose: it is run again."""

    async def see(tx: AsyncDatabase) -> Sighting:
        star = await tx.query(Star).filter(name=name).one()
        await tx.query(Star).filter(id=star.id).update({"seen": Star.seen + 1})
        return await tx.query(Sighting).insert(
            {"star_id": star.id, **sighting.model_dump(exclude_unset=True)}
        )  # type: ignore[attr-defined]

    return await db.run_transaction(see)


@app.get("/stars/{name}/sightings", response_model=list[SightingRead])
def list_sightings(name: str, db: Db) -> Any:
    return db.query(Star).filter(name=name).include(Star.sightings).one().sightings


@app.post("/catalogue", status_code=201)
def add_catalogue(stars: list[StarCreate], session: Annotated[Session, Depends(get_session)]) -> int:  # type: ignore[valid-type]
    """All of them or none, by a unit of work: what its commit raises is the answer."""
    session.add_all(Star(**star.model_dump(exclude_unset=True)) for star in stars)  # type: ignore[attr-defined]
    return len(stars)
