"""``db_plugins.diagram`` and ``dbp diagram``: what is drawn of models, with which ends, and in which words."""

from __future__ import annotations

import enum
import importlib
import itertools
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    backref,
    foreign,
    mapped_column,
    registry,
    relationship,
    remote,
)

from db_plugins import InvalidValueError, UnsupportedError, UnsupportedOperationError, Vector
from db_plugins.cli.app import dbp
from db_plugins.diagram import Attribute, End, Entity, Picture, Relation, dot, mermaid, read, svg
from db_plugins.models import MetadataMixin

ROOT = Path(__file__).parents[1]
NEEDS_DOT = pytest.mark.skipif(
    shutil.which("dot") is None, reason="graphviz's program `dot` is not installed"
)


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "r"


tags_of = sa.Table(
    "book_tags",
    Base.metadata,
    sa.Column("book_id", sa.ForeignKey("books.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
)
follows = sa.Table(
    "follows",
    Base.metadata,
    sa.Column("who", sa.ForeignKey("authors.id")),
    sa.Column("whom", sa.ForeignKey("authors.id")),
)


class Author(Base):
    __tablename__ = "authors"
    __table_args__ = (sa.UniqueConstraint("name", "born"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))
    born: Mapped[int | None]
    mentor_id: Mapped[int | None] = mapped_column(sa.ForeignKey("authors.id"))
    mentor: Mapped[Author | None] = relationship(back_populates="pupils", remote_side="Author.id")
    pupils: Mapped[list[Author]] = relationship(back_populates="mentor")
    books: Mapped[list[Book]] = relationship(back_populates="author", foreign_keys="Book.author_id")
    recent: Mapped[list[Book]] = relationship(
        primaryjoin="and_(Author.id == Book.author_id, Book.pages > 1)", viewonly=True
    )
    latest: Mapped[Book | None] = relationship(
        primaryjoin="and_(Author.id == Book.author_id, Book.pages > 1)", viewonly=True
    )
    profile: Mapped[Profile | None] = relationship(back_populates="author")
    following: Mapped[list[Author]] = relationship(
        secondary=follows,
        primaryjoin=lambda: Author.id == follows.c.who,
        secondaryjoin=lambda: Author.id == follows.c.whom,
        back_populates="followers",
    )
    followers: Mapped[list[Author]] = relationship(
        secondary=follows,
        primaryjoin=lambda: Author.id == follows.c.whom,
        secondaryjoin=lambda: Author.id == follows.c.who,
        back_populates="following",
    )


class Profile(Base):
    __tablename__ = "profiles"
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"), primary_key=True)
    colour: Mapped[Colour]
    author: Mapped[Author] = relationship(back_populates="profile")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column("book_title", sa.String(80), unique=True)
    pages: Mapped[int] = mapped_column(default=0)
    price: Mapped[float | None] = mapped_column(sa.Numeric(8, 3))
    meaning: Mapped[Any] = mapped_column(Vector(3))
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    editor_id: Mapped[int | None] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books", foreign_keys=[author_id])
    tags: Mapped[list[Tag]] = relationship(secondary=tags_of, backref=backref("books"))


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)


class Staff(Base):
    __tablename__ = "staff"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "staff"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(10))


class Engineer(Staff):
    __mapper_args__ = {"polymorphic_identity": "engineer"}
    badge: Mapped[str | None] = mapped_column(sa.String(8), unique=True)
    tasks: Mapped[list[Task]] = relationship()


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    engineer_id: Mapped[int] = mapped_column(sa.ForeignKey("staff.id"))


LIBRARY = [Author, Profile, Book, Tag]


def relations(*models: type) -> dict[str, tuple[str, End, End, str]]:
    """The lines by their labels."""
    found = read(models).relations
    assert len({each.label for each in found}) == len(found)
    return {each.label: (each.left, each.left_end, each.right_end, each.right) for each in found}


def attribute(model: type, name: str) -> Attribute:
    (entity,) = read([model]).entities
    return next(each for each in entity.attributes if each.name == name)


# -- what is read ------------------------------------------------------------------------------------------------------


def test_attributes_have_python_types_bounds_and_keys() -> None:
    (entity,) = read([Book]).entities
    assert (entity.name, entity.store, entity.parent) == ("Book", "books", None)
    assert [(each.type, each.name, each.keys, each.remarks) for each in entity.attributes] == [
        ("int", "id", ("PK",), ""),
        ("str(80)", "title", ("UK",), ""),
        ("int", "pages", (), ""),
        ("Decimal(8,3)", "price", (), "or None"),
        ("vector(3)", "meaning", (), ""),
        ("int", "author_id", ("FK",), ""),
        ("int", "editor_id", ("FK",), "or None"),
    ]


def test_a_key_of_two_kinds_and_an_enum() -> None:
    assert attribute(Profile, "author_id").keys == ("PK", "FK")
    assert attribute(Profile, "colour").type == "Colour"


def test_what_is_unique_together_is_said_and_is_no_unique_key_alone() -> None:
    name, born = attribute(Author, "name"), attribute(Author, "born")
    assert (name.keys, name.remarks) == ((), "unique with born")
    assert (born.keys, born.remarks) == ((), "or None; unique with name")


def test_types_of_the_mixins_and_of_one_dialect() -> None:
    class Thing(MetadataMixin, Base):
        __tablename__ = "diagram_things"
        words: Mapped[list[str]] = mapped_column(sa.ARRAY(sa.String))

    types = {each.name: each.type for each in read([Thing]).entities[0].attributes}
    assert types == {"id": "UUID", "words": "ARRAY", "created_at": "datetime", "updated_at": "datetime"}


def test_one_to_many_with_the_names_of_both_sides() -> None:
    assert relations(Author, Book)["books / author"] == ("Author", End.ONE, End.MANY, "Book")


def test_a_view_has_no_name_and_changes_no_end() -> None:
    assert not [label for label in relations(*LIBRARY) if "recent" in label or "latest" in label]


def test_a_foreign_key_without_a_relationship_is_drawn_and_may_be_null() -> None:
    assert relations(Author, Book)["editor_id"] == ("Author", End.MAYBE, End.MANY, "Book")


def test_one_to_one_by_the_unique_key() -> None:
    assert relations(Author, Profile)["profile / author"] == ("Author", End.ONE, End.MAYBE, "Profile")


def test_one_to_one_by_the_relationship_alone() -> None:
    class Owner(Base):
        __tablename__ = "diagram_owners"
        id: Mapped[int] = mapped_column(primary_key=True)
        pet = relationship("Pet", uselist=False)

    class Pet(Base):
        __tablename__ = "diagram_pets"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner_id: Mapped[int] = mapped_column(sa.ForeignKey("diagram_owners.id"))

    assert relations(Owner, Pet) == {"pet": ("Owner", End.ONE, End.MAYBE, "Pet")}


def test_a_model_that_refers_to_itself() -> None:
    assert relations(Author)["pupils / mentor"] == ("Author", End.MAYBE, End.MANY, "Author")


def test_many_to_many_names_both_sides_and_its_table() -> None:
    found = relations(*LIBRARY)
    assert found["tags / books, via book_tags"] == ("Book", End.MANY, End.MANY, "Tag")
    assert [label for label in found if "book_tags" in label] == ["tags / books, via book_tags"]


def test_many_to_many_of_a_model_with_itself_is_one_line() -> None:
    found = [each for each in read([Author]).relations if each.via == "follows"]
    assert [(each.left_names, each.right_names) for each in found] == [(("following",), ("followers",))]


def test_many_to_many_through_a_model_is_drawn_through_it() -> None:
    class Group(Base):
        __tablename__ = "diagram_groups"
        id: Mapped[int] = mapped_column(primary_key=True)
        members = relationship("Person", secondary="diagram_memberships", viewonly=True)

    class Person(Base):
        __tablename__ = "diagram_people"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Membership(Base):
        __tablename__ = "diagram_memberships"
        group_id: Mapped[int] = mapped_column(sa.ForeignKey("diagram_groups.id"), primary_key=True)
        person_id: Mapped[int] = mapped_column(sa.ForeignKey("diagram_people.id"), primary_key=True)

    assert relations(Group, Person, Membership) == {
        "group_id": ("Group", End.ONE, End.MANY, "Membership"),
        "person_id": ("Person", End.ONE, End.MANY, "Membership"),
    }


def test_a_foreign_key_of_two_columns_is_one_line() -> None:
    class Floor(Base):
        __tablename__ = "diagram_floors"
        house: Mapped[int] = mapped_column(primary_key=True)
        floor: Mapped[int] = mapped_column(primary_key=True)

    class Desk(Base):
        __tablename__ = "diagram_desks"
        __table_args__ = (
            sa.ForeignKeyConstraint(["house", "floor"], ["diagram_floors.house", "diagram_floors.floor"]),
        )
        id: Mapped[int] = mapped_column(primary_key=True)
        house: Mapped[int]
        floor: Mapped[int | None]

    assert relations(Floor, Desk) == {"house, floor": ("Floor", End.MAYBE, End.MANY, "Desk")}


def test_a_relationship_without_a_foreign_key_is_drawn_and_its_parent_may_be_missing() -> None:
    class Log(Base):
        __tablename__ = "diagram_logs"
        id: Mapped[int] = mapped_column(primary_key=True)
        tag_id: Mapped[int]
        tag: Mapped[Tag] = relationship(primaryjoin=lambda: remote(Tag.id) == foreign(Log.tag_id))

    assert relations(Log, Tag) == {"tag": ("Tag", End.MAYBE, End.MANY, "Log")}
    assert attribute(Log, "tag_id").keys == ()


def test_a_class_that_shares_its_table_shows_what_it_adds_and_its_own_lines() -> None:
    picture = read([Staff, Engineer, Task])
    engineer = next(each for each in picture.entities if each.name == "Engineer")
    assert (engineer.parent, [each.name for each in engineer.attributes]) == ("Staff", ["badge"])
    assert engineer.attributes[0].keys == ("UK",)
    assert [(each.left, each.right, each.label) for each in picture.relations] == [
        ("Engineer", "Task", "tasks")
    ]
    assert '    Engineer |o--|| Staff : "is a"\n' in mermaid(picture)
    assert "arrowhead=empty, label=<is a>" in dot(picture)


def test_a_class_without_its_base_shows_everything() -> None:
    (engineer,) = read([Staff, Engineer], ["Engineer"]).entities
    assert (engineer.parent, [each.name for each in engineer.attributes]) == (None, ["id", "kind", "badge"])


def test_what_no_engine_of_ours_could_hold_is_refused_by_name() -> None:
    class Joined(Staff):
        __tablename__ = "diagram_joined"
        __mapper_args__ = {"polymorphic_identity": "joined"}
        id: Mapped[int] = mapped_column(sa.ForeignKey("staff.id"), primary_key=True)

    with pytest.raises(UnsupportedError, match="Joined uses joined or concrete inheritance"):
        read([Staff, Joined])


def test_lines_to_models_that_are_not_drawn_are_left_out() -> None:
    assert read([Book]).relations == ()
    assert {each.right for each in read(LIBRARY, ["Book", "Tag"]).relations} == {"Tag"}


def test_a_model_of_two_entries_is_drawn_once_with_both() -> None:
    picture = read({"SQL": [Author, Tag], "MONGO": [Tag]})
    assert [(each.name, each.entries) for each in picture.entities] == [
        ("Author", ("SQL",)),
        ("Tag", ("SQL", "MONGO")),
    ]
    assert [picture.title(each) for each in picture.entities] == ["Author (SQL)", "Tag"]
    assert 'Author["Author (SQL)"] {' in mermaid(picture)
    assert dot(picture).count("subgraph cluster_") == 2


def test_without_differences_no_entry_is_named() -> None:
    picture = read({"SQL": [Tag], "MONGO": [Tag]})
    assert mermaid(picture) == mermaid(read([Tag])) == "erDiagram\n    Tag {\n        int id PK\n    }\n"
    assert "cluster" not in dot(picture)


def other_tag() -> type:
    table = sa.Table("tags", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    made = type("Tag", (), {"__module__": "archive"})
    registry().map_imperatively(made, table)
    return made


def test_models_of_one_name_have_their_modules_before_it() -> None:
    first, second = other_tag(), other_tag()
    picture = read([Tag, first, second])
    names = [each.name for each in picture.entities]
    assert names == [f"{__name__}.Tag", "archive.Tag", "archive.Tag 2"]
    assert 'entity2["archive.Tag"] {' in mermaid(picture)
    with pytest.raises(
        InvalidValueError, match=r"several models are called 'Tag'; name one of .*archive\.Tag,"
    ):
        read([Tag, first, second], ["Tag"])
    assert [each.name for each in read([Tag, first], ["archive.Tag"]).entities] == ["archive.Tag"]


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidValueError, match=r"there is no model 'Autor'; did you mean 'Author'\?"):
        read(LIBRARY, ["Autor"])


def test_the_same_models_give_the_same_text() -> None:
    assert mermaid(read(LIBRARY)) == mermaid(read(list(LIBRARY)))
    assert dot(read(LIBRARY)) == dot(read(LIBRARY))
    assert json.loads(json.dumps(read(LIBRARY).as_dict()))["relations"][0]["left_end"] in list(End)


# -- how it is written -------------------------------------------------------------------------------------------------

#: What Mermaid, DOT or XML could take for something else.
HOSTILE = [
    'we"ird', "a b", "<b>x</b>", "Étoile", "星", "%%{init: {}}%%", "x\ny", "direction LR", "#quot;", "a\\b", "`md`",
    "a;b", "", "0x", "}", "{", "a,b", "a.b", "~x~", "&lt;", "\x00", "\ud800", "[x]", "😀", "%%", "-->", "<%>", "]]>",
]  # fmt: skip
WORDS = [
    "pk", "PK", "fk", "Uk", "End", "Style", "Class", "To", "U", "One", "Many", "Title", "Subgraph", "Only", "Zero",
    "erDiagram", "accTitle", "classDef", "Default", "Direction", "Optionally",
]  # fmt: skip


def hostile_picture() -> Picture:
    names = [*HOSTILE, *WORDS]
    ends = itertools.cycle(itertools.product(End, End))
    return Picture(
        tuple(
            Entity(
                name, name, tuple(Attribute(each, each, True, ("PK",), ((name,),)) for each in names), (name,)
            )
            for name in names
        ),
        tuple(
            Relation(a, left, right, b, (a,), (b,), via=a)
            for (a, b), (left, right) in zip(itertools.pairwise(names), ends, strict=False)
        ),
        tuple(names),
    )


#: The lines that Mermaid's grammar knows, as far as we write them; its own parser took them.
LINES = [
    r'    (?P<id>[A-Za-z_]\w*)(\["[^"%\\]*"\])? \{',
    r"        [\w\[\]()]+ [\w]+( (PK|FK|UK)(, (FK|UK))*)?( \"[^\"]*\")?",
    r"    \}",
    r'    \w+ (\|\||\|o|\}o)--(\|\||o\||o\{) \w+ : "[^"]*"',
]


def assert_is_mermaid(text: str) -> None:
    head, *lines = text.split("\n")
    assert (head, lines.pop()) == ("erDiagram", "")
    for line in lines:
        assert any(re.fullmatch(each, line) for each in LINES), line
        assert line.isprintable()
        assert not re.search(r"direction\s+(TB|BT|LR|RL)|[<>&#`]", line), line
        assert not re.match(r"        \S+ (pk|fk|uk)\b", line, re.IGNORECASE), line
        assert not re.match(r"        (pk|fk|uk)\b", line, re.IGNORECASE), line


@pytest.mark.parametrize("picture", [read(LIBRARY), read([Staff, Engineer, Task]), hostile_picture()])
def test_mermaid_can_be_read(picture: Picture) -> None:
    assert_is_mermaid(mermaid(picture))


def test_words_of_mermaid_are_no_ids_and_names_keep_their_looks() -> None:
    text = mermaid(hostile_picture())
    for word in WORDS[4:]:
        assert f"\n    {word} " not in text
        assert f'["{word} ({word})"] {{' in text
    assert "we”ird" in text
    assert '"called a b; or None; unique with' in text


def test_two_names_never_share_an_id() -> None:
    ids = re.findall(r"^    (\w+)(?:\[.*\])? \{$", mermaid(hostile_picture()), re.MULTILINE)
    assert len(ids) == len(set(ids)) == len(HOSTILE) + len(WORDS)


@NEEDS_DOT
@pytest.mark.parametrize(
    "picture", [read(LIBRARY), hostile_picture(), read([])], ids=["library", "hostile", "empty"]
)
def test_svg_is_xml_that_shows_every_name(picture: Picture) -> None:
    root = ElementTree.fromstring(svg(picture))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    said = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    for entity in picture.entities:
        if entity.name.isprintable() and entity.name:
            assert entity.name in said
    edges = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("class") == "edge"]
    assert len(edges) == len(picture.relations) + sum(each.parent is not None for each in picture.entities)


def test_without_graphviz_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UnsupportedOperationError, match=r"`dot` is not here; install graphviz .* or write Mermaid"
    ):
        svg(read([Tag]))


def test_a_failing_graphviz_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho 'cannot find fonts' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UnsupportedOperationError, match="`dot` failed: cannot find fonts"):
        svg(read([Tag]))


def test_the_picture_in_the_docs_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    models = importlib.import_module("examples.api.models")
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{mermaid(read([models.Star, models.Sighting]))}```\n" in page


# -- the command -------------------------------------------------------------------------------------------------------

MODELS = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)

class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id"))
"""
DRAWN = """erDiagram
    Star {
        int id PK
    }
    Planet {
        int id PK
        int star_id FK
    }
    Star ||--o{ Planet : "star_id"
"""
#: Servers that are not there, a plugin that is not installed, and keys that are wrong.
CONFIG = """{
    "SQL": {"ENGINE": "postgresql", "HOST": "nowhere.invalid", "DB_NAME": "stars", "PORT": "x"},
    "other": {"PLUGIN": "no_such_plugin"},
}"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose databases cannot be reached, in the current folder."""
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "settings.py").write_text(f"DB_CONFIG = {CONFIG}\nMODELS = ['models']\n")
    (tmp_path / "models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(dbp, ["diagram", *arguments])
    assert "Traceback" not in done.output
    return done


def test_mermaid_goes_to_standard_output_though_no_server_and_no_plugin_is_there(project: Path) -> None:
    done = run()
    assert (done.exit_code, done.stdout) == (0, DRAWN)
    assert done.stderr == f"settings: {project / 'settings.py'}\n"


def test_only_these_models(project: Path) -> None:
    assert run("Star").stdout == "erDiagram\n    Star {\n        int id PK\n    }\n"
    done = run("Sta")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "error: there is no model 'Sta'\nhint: did you mean 'Star'?\n" in done.stderr


def test_entries_with_models_of_their_own_are_named(project: Path) -> None:
    config = "{'A': {'PLUGIN': 'gone', 'MODELS': ['models:Star']}, 'B': {'PLUGIN': 'gone'}}"
    (project / "settings.py").write_text(f"DB_CONFIG = {config}\nMODELS = ['models']\n")
    assert 'Planet["Planet (B)"] {' in run().stdout
    assert "Planet" not in run("--database", "A").stdout


def test_wrong_models_of_an_entry_are_reported(project: Path) -> None:
    (project / "settings.py").write_text("DB_CONFIG = {'A': {'PLUGIN': 'gone', 'MODELS': 7}}\n")
    done = run()
    assert done.exit_code == 1
    assert "MODELS is the int 7; give a list of" in done.stderr


def test_models_that_cannot_be_imported_are_reported_with_their_line(project: Path) -> None:
    (project / "models.py").write_text("import nothing_like_it\n")
    done = run()
    assert (done.exit_code, done.stdout) == (1, "")
    assert "models.py:1: ModuleNotFoundError" in done.stderr


def test_without_models_there_is_nothing_to_draw(project: Path) -> None:
    (project / "settings.py").write_text("DB_CONFIG = {'A': {'PLUGIN': 'gone'}}\n")
    (project / "models.py").unlink()
    done = run()
    assert done.exit_code == 1
    assert "error: no models are known\nhint: name them in the settings" in done.stderr


def test_json_holds_the_picture(project: Path) -> None:
    told = json.loads(run("--json").stdout)
    assert (told["ok"], told["entries"]) == (True, ["SQL", "other"])
    assert [each["name"] for each in told["entities"]] == ["Star", "Planet"]
    assert told["entities"][0]["attributes"] == [
        {"name": "id", "type": "int", "nullable": False, "keys": ["PK"], "unique_with": []}
    ]
    (relation,) = told["relations"]
    assert (relation["left_end"], relation["right_end"], relation["columns"]) == (
        "exactly one",
        "zero or more",
        ["star_id"],
    )


@pytest.mark.parametrize("name", ["stars.mmd", "stars.MERMAID"])
def test_a_file_is_overwritten(project: Path, name: str) -> None:
    (project / name).write_text("what was there before, and is longer than what follows it" * 50)
    done = run("-o", name)
    assert (done.exit_code, done.stdout) == (0, f"wrote {name} (2 models, 1 relations)\n")
    assert (project / name).read_text() == DRAWN
    assert json.loads(run("-o", name, "--json").stdout)["file"] == name


def test_a_page_gets_a_block_and_keeps_its_text(project: Path) -> None:
    page = project / "models.md"
    run("-o", "models.md")
    assert page.read_text() == f"```mermaid\n{DRAWN}```\n"
    page.write_text(
        "# Ours\n\n```mermaid\nerDiagram\n    Old {\n    }\n```\n\n```mermaid\nflowchart LR\n```\nEnd.\n"
    )
    assert run("-o", "models.md").exit_code == 0
    assert page.read_text() == f"# Ours\n\n```mermaid\n{DRAWN}```\n\n```mermaid\nflowchart LR\n```\nEnd.\n"


@pytest.mark.parametrize(
    ("text", "fact"), [("# Ours\n", "has no diagram"), ("```mermaid\nerDiagram\n```\n" * 2, "has 2 diagrams")]
)
def test_a_page_without_one_diagram_is_left_as_it_is(project: Path, text: str, fact: str) -> None:
    (project / "README.md").write_text(text)
    done = run("-o", "README.md")
    assert done.exit_code == 1
    assert f"error: README.md is there, and {fact}\nhint: it must have one block" in done.stderr
    assert (project / "README.md").read_text() == text


@NEEDS_DOT
def test_svg_by_the_ending_and_by_the_format(project: Path) -> None:
    assert run("-o", "stars.svg").exit_code == 0
    ElementTree.parse(project / "stars.svg")
    ElementTree.fromstring(run("--format", "svg").stdout)
    assert run("-o", "stars.txt", "--format", "dot").exit_code == 0
    assert (project / "stars.txt").read_text().startswith("digraph models {")


def test_svg_without_graphviz_leaves_the_file_as_it_was(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project))
    (project / "stars.svg").write_text("old")
    done = run("-o", "stars.svg")
    assert done.exit_code == 1
    assert "whose program `dot` is not here\nhint: install graphviz" in done.stderr
    assert (project / "stars.svg").read_text() == "old"


def test_an_unknown_ending_is_wrong_usage(project: Path) -> None:
    done = run("-o", "stars.png")
    assert done.exit_code == 2
    assert (
        "no format has the ending of 'stars.png'\nhint: end it in one of .mmd, .mermaid, .md" in done.stderr
    )
    assert not (project / "stars.png").exists()
    assert run("--format", "png").exit_code == 2


def test_a_file_that_cannot_be_written_is_named(project: Path) -> None:
    done = run("-o", "nowhere/stars.mmd")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "error: No such file or directory: nowhere/stars.mmd\n" in done.stderr
