"""``db_plugins.fastapi``: pages as response models, and the parameters that choose them."""

# No "from __future__ import annotations": FastAPI reads the annotations of endpoints made inside functions.

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Mapped, mapped_column
from stargazing import MEMORY, AsyncDb, Band, Base, Db, Planet, Star, StarRead, call, fill, make_app, sqlite

import db_plugins
from db_plugins.errors import InvalidValueError
from db_plugins.fastapi import CursorPage, CursorParams, Page, PageParams, database, page_params

__all__ = ["sqlite"]


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Reversed(sa.types.TypeDecorator[str]):
    """Text that is stored backwards."""

    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value[::-1]

    process_result_value = process_bind_param


class Request(Base):
    """Columns whose types and names are less usual."""

    __tablename__ = "requests"
    id: Mapped[int] = mapped_column(primary_key=True)
    request: Mapped[str | None]
    level: Mapped[Level | None]
    kind: Mapped[str | None] = mapped_column(sa.Enum("a", "b", name="kind"))
    data: Mapped[bytes | None]
    backwards: Mapped[str | None] = mapped_column(Reversed)
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)


# -- pages ------------------------------------------------------------------------------------------------------------


def test_pages_of_both_faces_are_responses() -> None:
    app = make_app()

    @app.get("/sync", response_model=Page[StarRead])
    def sync(db: Db) -> Any:
        fill(db)
        return db.query(Star).paginate(2)

    @app.get("/async", response_model=Page[StarRead])
    async def awaited(db: AsyncDb) -> Any:
        await db.query(Star).bulk_insert({"name": f"s{i:02}"} for i in range(25))
        return await db.query(Star).paginate(2)

    @app.get("/uncounted", response_model=Page[StarRead])
    def uncounted(db: Db) -> Any:
        return db.query(Star).paginate(3, count=False)

    @app.get("/cursor", response_model=CursorPage[StarRead])
    def by_cursor(db: Db, cursor: str | None = None) -> Any:
        return db.query(Star).cursor_paginate(cursor)

    @app.get("/cursor/async", response_model=CursorPage[StarRead])
    async def by_cursor_awaited(db: AsyncDb, cursor: str | None = None) -> Any:
        return await db.query(Star).cursor_paginate(cursor)

    with TestClient(app) as client:
        for path in ("/sync", "/async"):
            body = client.get(path).json()
            assert [each["name"] for each in body.pop("items")] == [f"s{i}" for i in range(10, 20)]
            assert body == {
                "page": 2, "per_page": 10, "total": 25, "pages": 3, "has_prev": True, "has_next": True
            }  # fmt: skip
        body = client.get("/uncounted").json()
        assert (len(body["items"]), body["total"], body["pages"], body["has_next"]) == (5, None, None, False)
        for path in ("/cursor", "/cursor/async"):
            names, cursor = [], None
            while True:
                body = client.get(path, params={"cursor": cursor} if cursor else {}).json()
                assert body["has_prev"] == (cursor is not None) == (body["prev_cursor"] is not None)
                names += [each["name"] for each in body["items"]]
                cursor = body["next_cursor"]
                if not body["has_next"]:
                    break
            assert names == [f"s{i:02}" for i in range(25)]
        document = client.get("/openapi.json").json()
    content = document["paths"]["/sync"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    page = document["components"]["schemas"][content["$ref"].rpartition("/")[2]]
    assert set(page["required"]) == set(page["properties"]) == {*Page.model_fields}
    assert page["properties"]["items"]["items"]["$ref"].endswith("/StarRead")


def test_pages_are_made_of_objects_by_their_attributes() -> None:
    with db_plugins.connect(MEMORY, models=[Star]) as db:
        fill(db, 3)
        page = Page[StarRead].model_validate(db.query(Star).paginate(per_page=2))
        assert (page.total, page.pages, page.items[0].name, type(page.items[0])) == (3, 2, "s00", StarRead)
        turned = CursorPage[StarRead].model_validate(db.query(Star).cursor_paginate(per_page=2))
        assert (turned.has_next, turned.prev_cursor, len(turned.items)) == (True, None, 2)


# -- parameters -------------------------------------------------------------------------------------------------------


def _listing(**options: Any) -> FastAPI:
    app = make_app()

    @app.get("/", response_model=Page[StarRead])
    def stars(db: Db, params: Annotated[PageParams, Depends(page_params(Star, **options))]) -> Any:
        return params.paginate(db.query(Star))

    return app


#: A filter as a request gives it, and what is stored in the row that it finds.
VALUES = {
    "name": ("Vega", "Vega"),
    "mag": ("0.5", 0.5),
    "band": ("RED", Band.RED),
    "variable": ("true", True),
    "parallax": ("130.230", Decimal("130.23")),
    "seen": ("2026-11-21T20:00:00+01:00", dt.datetime(2026, 11, 21, 19, tzinfo=dt.UTC)),
    "night": ("2026-11-21", dt.date(2026, 11, 21)),
    "catalogue": ("12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    "id": ("7", 7),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("face", ["sync", "async"])
def test_filters_are_converted_to_the_type_of_their_column(name: str, face: str) -> None:
    text, stored = VALUES[name]
    app = make_app()
    filtered = Annotated[PageParams, Depends(page_params(filters=[getattr(Star, name)]))]
    rows = [{"id": 1, "name": "other"}, {"id": 2, "name": "another", name: stored}]

    @app.get("/sync", response_model=Page[StarRead])
    def sync(db: Db, params: filtered) -> Any:
        db.query(Star).bulk_insert(rows)
        return params.paginate(db.query(Star))

    @app.get("/async", response_model=Page[StarRead])
    async def awaited(db: AsyncDb, params: filtered) -> Any:
        await db.query(Star).bulk_insert(rows)
        return await params.paginate(db.query(Star))

    body = call(f"/{face}", app, params={name: text}).json()
    assert [each["id"] for each in body["items"]] == [7 if name == "id" else 2]
    nonsense = call(f"/{face}", app, params={name: "\0"})
    assert (nonsense.status_code, nonsense.json()["detail"][0]["loc"]) == (422, ["query", name])


@pytest.mark.parametrize(
    ("name", "text", "stored", "wrong"),
    [
        ("request", "GET", "GET", "\0"),
        ("level", "2", Level.HIGH, "3"),
        ("level", "HIGH", Level.HIGH, "high"),
        ("kind", "b", "b", "c"),
        ("data", "/w==", b"\xff", "?"),
        ("backwards", "abc", "abc", None),
        ("small", "7", 7, "99999999999999999999"),
    ],
)
def test_less_usual_types_and_names(
    sqlite: dict[str, Any], name: str, text: str, stored: Any, wrong: str | None
) -> None:
    app = FastAPI(lifespan=database(sqlite, models=[Request], create_all=True))

    @app.get("/")
    def found(
        db: Db, params: Annotated[PageParams, Depends(page_params(filters=[getattr(Request, name)]))]
    ) -> Any:
        db.query(Request).insert({name: stored})
        db.query(Request).insert({})
        return [getattr(each, name) == stored for each in params.paginate(db.query(Request))]

    assert call("/", app, params={name: text}).json() == [True]
    if wrong is not None:
        assert call("/", app, params={name: wrong}).status_code == 422


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["s24", "s23"]),
        ("sort=name", ["s00", "s01"]),
        ("sort=-name", ["s24", "s23"]),
        ("sort=band,name", ["s00", "s01"]),
        ("sort=band&sort=name&page=13", ["s24"]),
        ("sort=-mag", ["s24", "s23"]),
        ("per_page=1&sort=name", ["s00"]),
    ],
)
def test_requests_order_by_the_names_of_the_list(query: str, names: list[str]) -> None:
    app = _listing(sort=["name", "-mag", Star.band], default="-mag", per_page=2, max_per_page=5)

    @app.post("/fill")
    def fill_(db: Db) -> None:
        fill(db)

    with TestClient(app) as client:
        client.post("/fill")
        assert [each["name"] for each in client.get(f"/?{query}").json()["items"]] == names


@pytest.mark.parametrize(
    ("query", "where", "says"),
    [
        ("sort=id", "sort", "'name', '-name' or '-mag'"),
        ("sort=mag", "sort", "'name', '-name' or '-mag'"),  # descending alone
        ("sort=name,parallax", "sort", "'name', '-name' or '-mag'"),
        ("page=0", "page", "greater than or equal to 1"),
        ("page=two", "page", "valid integer"),
        ("page=2000000000", "page", "too far"),
        ("per_page=0", "per_page", "greater than or equal to 1"),
        ("per_page=6", "per_page", "less than or equal to 5"),
        ("mag=nan", "mag", "finite"),
        ("mag=x", "mag", "valid number"),
        ("bnad=V", "bnad", "known: band, mag, page, per_page, q, sort"),
        ("band=X", "band", "'V' or 'R'"),
        ("cursor=x", "cursor", "no such parameter"),
    ],
)
def test_what_is_not_in_the_lists_is_refused_and_the_answer_says_what_is(
    query: str, where: str, says: str
) -> None:
    app = _listing(
        sort=["name", "-mag"], filters=["band", Star.mag], per_page=2, max_per_page=5, others=["q"]
    )
    answer = call(f"/?{query}", app)
    detail = answer.json()["detail"][0]
    assert (answer.status_code, detail["loc"][:2]) == (422, ["query", where])
    assert says in detail["msg"]
    assert call("/?q=x", app).status_code == 200


def test_any_other_parameter_passes_where_that_is_wanted() -> None:
    assert call("/?utm=x&page=1", _listing(others=None)).status_code == 200


def test_a_page_by_cursor_has_no_page_number() -> None:
    app = make_app()
    params = Annotated[
        CursorParams, Depends(page_params(Star, sort=["name", "mag"], cursor=True, per_page=10))
    ]

    @app.get("/sync", response_model=CursorPage[StarRead])
    def sync(db: Db, params: params) -> Any:
        return params.cursor_paginate(db.query(Star))

    @app.get("/async", response_model=CursorPage[StarRead])
    async def awaited(db: AsyncDb, params: params) -> Any:
        if not await db.query(Star).exists():
            await db.query(Star).bulk_insert({"name": f"s{i:02}"} for i in range(25))
        return await params.cursor_paginate(db.query(Star))

    @app.post("/fill")
    def fill_(db: Db) -> None:
        fill(db)

    with TestClient(app) as client:
        client.post("/fill")
        for path in ("/sync", "/async"):
            first = client.get(path, params={"sort": "-name"}).json()
            after = client.get(path, params={"sort": "-name", "cursor": first["next_cursor"]}).json()
            assert [each["name"] for each in after["items"]] == [f"s{i:02}" for i in range(14, 4, -1)]
            for wrong in (
                {"cursor": "garbage"},
                {"cursor": first["next_cursor"], "sort": "mag"},
                {"page": "2"},
            ):
                answer = client.get(path, params=wrong)
                where = "page" if "page" in wrong else "cursor"
                assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", where])


def test_parameters_are_in_the_document() -> None:
    app = _listing(sort=["name"], filters=["band", "variable"], per_page=20, max_per_page=50)
    parameters = {p["name"]: p for p in app.openapi()["paths"]["/"]["get"]["parameters"]}
    assert set(parameters) == {"page", "per_page", "sort", "band", "variable"}
    assert parameters["per_page"]["schema"]["maximum"] == 50
    assert parameters["per_page"]["schema"]["default"] == 20
    assert parameters["sort"]["schema"]["items"] == {"enum": ["name", "-name"], "type": "string"} or (
        parameters["sort"]["schema"]["items"]["enum"] == ["name", "-name"]
    )
    assert not any(p["required"] for p in parameters.values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sort": ["magg"]}, "did you mean 'mag'"),
        ({"sort": ["notes"]}, "no order"),
        ({"filters": ["notes"]}, "no parameter can give"),
        ({"filters": ["mag", Star.mag]}, "a parameter 'mag' already"),
        ({"filters": ["-mag"]}, "Star has no"),
        ({"filters": [3]}, "a column or its name"),
        ({"sort": [Star.mag.desc()]}, '"-mag"'),
        ({"per_page": 200}, "per_page is 200"),
        ({"default": "colour"}, "known names"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        page_params(Star, **options)


def test_columns_name_their_model_and_names_need_one() -> None:
    assert page_params(sort=[Star.mag], filters=["band"])
    assert page_params()
    with pytest.raises(InvalidValueError, match="no model"):
        page_params(sort=["mag"])
    with pytest.raises(InvalidValueError, match="columns of Planet, Star"):
        page_params(sort=[Star.mag], filters=[Planet.name])
