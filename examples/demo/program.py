"""The demo's program. It is told the name of an entry of settings.py and knows nothing else of the engine.

python program.py SQL
python program.py MONGO
"""

import datetime as dt
import sys
from decimal import Decimal

from models import Colour, Star

import db_plugins
from db_plugins import Pagination, and_, not_, or_

SEEN = dt.datetime(2026, 3, 20, 22, 15, tzinfo=dt.UTC)
MORE = [
    {"name": "Sirius", "colour": Colour.WHITE, "magnitude": -1.46, "parallax": Decimal("379.210")},
    {"name": "Rigel", "colour": Colour.BLUE, "magnitude": 0.13, "parallax": Decimal("3.780")},
    {"name": "Antares", "colour": Colour.RED, "magnitude": 0.96, "parallax": Decimal("5.890")},
    {"name": "Deneb", "colour": Colour.WHITE, "magnitude": 1.25, "parallax": Decimal("2.310")},
    {"name": "Capella", "colour": Colour.YELLOW, "magnitude": 0.08, "parallax": Decimal("76.200")},
    {"name": "Betelgeuse", "colour": Colour.RED, "magnitude": 0.5, "observed": SEEN},
    {"name": "Elnath", "colour": Colour.BLUE, "notes": {"also": ["Nath"], "deg": 3}},
]


def names(stars: list[Star]) -> str:
    return " ".join(star.name for star in stars) or "none"


def main(entry: str) -> None:
    with db_plugins.connect(entry) as db:
        stars = db.query(Star)

        vega = stars.insert(Star(name="Vega", colour=Colour.WHITE, magnitude=0.03, observed=SEEN))
        print(f"insert       {vega.name} has the key {vega.id}")
        done = stars.bulk_insert(MORE, return_keys=True)
        print(f"bulk_insert  {done.inserted} rows, keys {done.keys[0]} to {done.keys[-1]}")
        try:
            stars.insert({"name": "Vega", "colour": "RED"})
        except db_plugins.DuplicateKeyError as error:
            print(f"insert again {type(error).__name__} on {', '.join(error.attributes)}")

        print("pages of 3, brightest first, NULL first:")
        page: Pagination[Star] | None = stars.order_by("magnitude").paginate(page=1, per_page=3)
        while page is not None:
            print(f"  {page.page} of {page.pages}     {names(page.items)}")
            page = page.next()

        print("filters:")
        for text, query in [
            ("< 0.1      ", stars.filter(Star.magnitude < 0.1)),
            ("not < 0.1  ", stars.filter(not_(Star.magnitude < 0.1))),
            ("is NULL    ", stars.filter(magnitude=None)),
            ("in_        ", stars.filter(Star.colour.in_([Colour.RED, "BLUE"]))),
            ("or_, and_  ", stars.filter(or_(Star.name < "B", and_(Star.id > 2, Star.parallax > 70)))),
            ("columns    ", stars.filter(Star.magnitude * 10 < Star.id, Star.parallax.is_not(None))),
        ]:
            print(f"  {text}{names(query.order_by(Star.name).all())}")

        count = stars.filter(colour=Colour.WHITE).update({"visits": Star.visits + 2})
        print(f"update       {count} rows, {stars.filter(visits=2).count()} have 2 visits")
        elnath = stars.filter(name="Elnath").one()
        stars.update(elnath, {"magnitude": 1.65, "observed": SEEN + dt.timedelta(days=1)})
        print(f"update one   {elnath.name} {elnath.magnitude} {elnath.observed}")
        print(f"notes        {elnath.notes}")
        print(f"delete       {stars.filter(Star.magnitude > 1.5).delete()} row")
        print(f"exists       {stars.filter(name='Elnath').exists()}")

        print("to_dicts, by colour and name:")
        for row in stars.order_by("colour", "-name").to_dicts("name", "colour", "parallax"):
            print(f"  {row['colour'].name:<11}{row['name']:<11}{row['parallax']}")


if __name__ == "__main__":
    main(sys.argv[1])
