"""What a write costs beside the raw driver, SQLAlchemy Core and SQLAlchemy's ORM, on one database in one run.

Before each turn the tables are emptied, and filled with the rows that are to be there; that is outside the timing. After
the first turn of each contender its rows are compared with the others'.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from servers import ServerError

from . import memory
from .places import PLACES, Place, place
from .turns import Taken, beside_raw, head, in_turns, line, timed
from .writers import Writes, writers
from .written import MODELS, NAMES, Row, Stock, Tag, make_changes, make_rows, make_tags

__all__ = ["WORKS", "measure"]


def _nothing(count: int) -> Iterator[Row]:
    return iter(())


@dataclass(frozen=True)
class Work:
    """A method of the contenders, how many rows it is given, and the ratio that each engine shall reach."""

    title: str  # may name rows
    method: str
    rows: int
    targets: Mapping[str, float]
    given: Callable[[int], Iterator[Row]] = make_rows
    before: Callable[[int], Iterator[Row]] = _nothing  # what is stored when it begins
    each: bool = False  # one call for each row
    rounds: int = 9


#: By the name that --only takes; two works may have one.
WORKS: dict[str, tuple[Work, ...]] = {
    "bulk_insert": (
        Work(
            "`bulk_insert` of {rows:,}",
            "bulk_insert",
            100_000,
            {"sqlite": 1.5, "postgresql": 0.25, "mongodb": 4},
            rounds=5,
        ),
        Work("`bulk_insert` of {rows:,}", "bulk_insert", 1000, {}, rounds=15),
    ),
    "generator": (),  # a line of its own
    "insert": (
        Work(
            "`insert`, {rows:,} in one transaction",
            "insert",
            5000,
            {"sqlite": 3, "postgresql": 1.2, "mongodb": 1.3},
            each=True,
        ),
        Work("`insert`, {rows:,}, each its own", "insert_alone", 500, {}, each=True),
    ),
    "bulk_update": (
        Work(
            "`bulk_update` of {rows:,} by key",
            "bulk_update",
            10_000,
            {"sqlite": 1.4, "postgresql": 0.8, "mongodb": 2},
            given=make_changes,
            before=make_rows,
        ),
    ),
    "upsert": (
        Work(
            "upsert of {rows:,}, half there",
            "upsert",
            20_000,
            {"sqlite": 1.5, "postgresql": 0.5, "mongodb": 3},
            before=partial(make_rows, step=2, state="old"),
        ),
    ),
    "get_or_create": (
        Work(
            "`get_or_create`, {rows:,}, half there",
            "get_or_create",
            2000,
            {"sqlite": 3, "postgresql": 1.4, "mongodb": 1.2},
            given=make_tags,
            before=partial(make_tags, step=2, weight=0.25),
            each=True,
        ),
    ),
}
MEMORY_TARGET = 15  # MiB
#: Rows of the generator. MongoDB's test server takes minutes to store 200,000, and as long to empty them.
GENERATED = {"sqlite": 1_000_000, "postgresql": 1_000_000, "mongodb": 100_000}
#: Rows of a bulk at most: with 256 MiB that server holds up to 35,000 of them in a transaction.
MOST_ROWS = {"mongodb": 20_000}
QUICK_ROWS, QUICK_ROUNDS = 200, 2
#: No new round of a row after so many seconds, but never fewer rounds than two.
ROW_SECONDS = 40.0

HEAD = """\
## Writes beside the raw driver and SQLAlchemy

Microseconds of one call of the raw driver, and how many times as long the others take: medians of rounds in turns. A
call is the whole of a bulk, and one of the single `insert` and `get_or_create`. All sides are given the same dicts, of
five columns: an int key, a string, a float with an index, a short string, an int; `get_or_create` looks for a unique
string and numbers the int key. Before each turn, outside the timing, the tables are emptied or filled with what is to be
there; what each side stored is compared once, row by row. On SQL the figures are time, on MongoDB the client's CPU (its
test server is written in Python, and is given fewer rows); the last column is ours by the other of the two.

Every bulk is one transaction on every side, except PyMongo's own; so are the inserts "in one transaction", while each
other `insert` and `get_or_create` is committed by itself. The raw driver is `executemany` of a statement with named
values (`:id`, `%(id)s`), and `execute` for single rows, on a connection that it holds all the time. Core is one `insert()`
or `update()` with the list, the ORM the same of the mapped class, and `add` and `flush` for single rows; PyMongo is
`insert_many`, `bulk_write` of `UpdateOne`, and `insert_one`. The raw `get_or_create` is a SELECT, and where it finds
nothing an INSERT … ON CONFLICT DO NOTHING RETURNING; with PyMongo it is `find_one`, and then `insert_one` with a number
counted up in a document, for the stored rows are to be the same.

The memory is that of a process of its own, at its peak, beyond what it had after one row; the raw driver is given the same
generator by one `executemany`, or by `insert_many`, which makes a list of it. Core and the ORM take lists only. SQLite's
cache is in it, the memory of a server is not. On MongoDB ours is by batch there (`atomic=False`), as `insert_many` is: a
server holds all of a transaction in its cache.

What is not met, and why. *`insert` on SQLite* allows 9 µs where sqlite3 takes 3: the checks of a row and the making of its
object take 2, the rest is the way from the query to the driver's cursor. *`bulk_insert` on PostgreSQL* is COPY, and lies at
its target: 0.25 to 0.27 when the machine is idle. *Upsert on PostgreSQL*: the server alone takes 0.47 of the raw time for one INSERT … SELECT … ON CONFLICT of these
rows, and the client 1.4 µs for each; a temporary table that COPY fills is no faster than the arrays that are sent. *`get_or_create` on
MongoDB*: 1.19 and 1.23 in two runs, at its target.
"""


def measure(
    *, quick: bool = False, engines: Collection[str] = tuple(PLACES), only: Collection[str] = tuple(WORKS)
) -> str:
    """The section of the page."""
    lines = [HEAD]
    for engine in engines:
        try:
            with place(engine, MODELS) as made:
                lines.append(f"### Writes on {made.title}\n")
                for text in _table(made, only, quick):
                    print(text, file=sys.stderr, flush=True)  # the whole takes minutes
                    lines.append(text)
                lines.append("")
        except ServerError as error:
            lines += [f"### Writes on {engine}\n", f"Not measured: {error}\n"]
    return "\n".join(lines)


def _table(made: Place, only: Collection[str], quick: bool) -> Iterator[str]:
    sides = writers(made)
    yield from head(made.engine)
    for name, works in WORKS.items():
        for work in works if name in only else ():
            yield _work_line(work, made, sides, quick)
        if name == "generator" and name in only:
            yield _memory_line(made, quick)


def _work_line(work: Work, made: Place, sides: Mapping[str, Writes], quick: bool) -> str:
    count = min(work.rows, QUICK_ROWS if quick else MOST_ROWS.get(made.engine, work.rows))
    found = {}
    for name, side in sides.items():
        _turn(work, made, side, count, 0)  # also warms it up
        found[name] = _stored(made)
    assert all(rows == found["raw"] for rows in found.values()), (
        f"{work.method} stores not the same everywhere"
    )
    assert sum(map(len, found["raw"].values())) == count, f"{work.method} does not store all rows"
    del found  # nothing that is counted by the garbage collector
    turns = {name: partial(_turn, work, made, side, count) for name, side in sides.items()}
    taken = in_turns(turns, QUICK_ROUNDS if quick else work.rounds, ROW_SECONDS)
    return beside_raw(work.title.format(rows=count), taken, made.engine, work.targets.get(made.engine))


def _turn(work: Work, made: Place, side: Writes, count: int, number: int) -> Taken:
    _prepare(made, work.before(count))
    rows = list(side.given(work.method, list(work.given(count))))
    method = getattr(side, work.method)
    return timed(lambda: method(rows), count if work.each else 1)


def _prepare(made: Place, rows: Iterator[Row]) -> None:
    """These rows and no others, by ours, which says how each value is stored."""
    for model in MODELS:
        _empty(made, model.__tablename__)
    before = list(rows)
    if before:
        made.db.query(Stock if "shelf" in before[0] else Tag).bulk_insert(before)
    if made.engine == "sqlite":
        made.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # each begins with an empty log
    elif made.engine == "postgresql":
        made.raw.execute("ANALYZE stock, tags")


def _empty(made: Place, table: str) -> None:
    if made.engine == "mongodb":
        made.raw[table].delete_many({})
    else:
        made.raw.execute(f"{'TRUNCATE' if made.engine == 'postgresql' else 'DELETE FROM'} {table}")


def _stored(made: Place) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of each table, as the raw driver gives them."""
    return {table: sorted(_rows(made, table, names)) for table, names in NAMES.items()}


def _rows(made: Place, table: str, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    if made.engine != "mongodb":
        yield from made.raw.execute(f"SELECT {', '.join(names)} FROM {table}")
        return
    for row in made.raw[table].find():
        # Nothing but these, and a key of the same kind.
        yield tuple({**row, "id": row["_id"]}[name] for name in names), type(row["_id"]).__name__, len(row)


def _count(made: Place) -> int:
    if made.engine == "mongodb":
        return int(made.raw["stock"].count_documents({}))
    return int(made.raw.execute("SELECT count(*) FROM stock").fetchone()[0])


def _memory_line(made: Place, quick: bool) -> str:
    count = QUICK_ROWS if quick else GENERATED[made.engine]
    title = f"memory of `bulk_insert` of {count:,} from a generator at its peak, MiB"
    mebibytes = {}
    for job in ("raw_bulk_insert", "bulk_insert"):
        _prepare(made, iter(()))
        mebibytes[job] = memory.measure(made, job, count)
        assert mebibytes[job] is None or _count(made) == count, f"{job} does not store all rows"
    raw, ours = mebibytes["raw_bulk_insert"], mebibytes["bulk_insert"]
    if raw is None or ours is None:
        return f"| {title} | | | | | {MEMORY_TARGET} | not measured: no /proc | |"
    return line(title, [f"{raw:.2f}", "", ""], ours, MEMORY_TARGET, "")
