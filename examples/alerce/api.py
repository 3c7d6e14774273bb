"""The survey over HTTP: a page of objects, sorted and filtered, and one object's light curve.

uvicorn api:app
SURVEY_DATABASE=MONGO uvicorn api:app
"""

# No "from __future__ import annotations": ObjectRead and DetectionRead are made, so that only they can be the annotations.

import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from models import Detection, DetectionRead, ObjectRead, SkyObject

from db_plugins import Database, NotFoundError
from db_plugins.fastapi import (
    Page,
    PageParams,
    add_error_handlers,
    database,
    get_db,
    health_router,
    page_params,
)

app = FastAPI(title="Survey", lifespan=database(os.environ.get("SURVEY_DATABASE", "SQL")))
add_error_handlers(app)
app.include_router(health_router)

Db = Annotated[Database, Depends(get_db)]
#: ?page=2&per_page=50&sort=-ndet&ndet=15
Chosen = Annotated[
    PageParams,
    Depends(
        page_params(
            sort=[SkyObject.ndet, SkyObject.last_mjd, SkyObject.brightest],
            filters=[SkyObject.ndet],
            default="-last_mjd",
            others=["brighter_than", "north_of"],
        )
    ),
]


@app.get("/objects", response_model=Page[ObjectRead])
def list_objects(
    db: Db, chosen: Chosen, brighter_than: float | None = None, north_of: float | None = None
) -> Any:
    objects = db.query(SkyObject)
    if brighter_than is not None:
        objects = objects.filter(SkyObject.brightest < brighter_than)
    if north_of is not None:
        objects = objects.filter(SkyObject.dec > north_of)
    return chosen.paginate(objects)


@app.get("/objects/{oid}", response_model=ObjectRead)
def read_object(oid: str, db: Db) -> Any:
    return db.query(SkyObject).filter(oid=oid).one()  # NotFoundError is the 404


@app.get("/objects/{oid}/lightcurve", response_model=list[DetectionRead])
def read_light_curve(oid: str, db: Db) -> Any:
    points = db.query(Detection).filter(oid=oid).order_by("mjd").all()
    if not points:
        raise NotFoundError("no object of this name was seen")
    return points
