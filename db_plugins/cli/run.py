"""One run of ``dbp``: what its options say, the entries they choose, and all that is printed.

Results go to standard output, everything else to standard error; under --json one document goes to standard output,
when the command has ended.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from .failures import Failure, failure_of, trace_of

if TYPE_CHECKING:
    from ..async_database import AsyncDatabase
    from ..config import Settings, SettingsFile
    from ..database import Database

__all__ = ["Entry", "Run"]

#: What a command finds out about one entry: the members of its JSON object, ``ok`` and ``error`` among them.
Facts = dict[str, Any]


@dataclass
class Run:
    """Handed to every command (``@click.pass_obj``). ``document`` is what --json prints; ``{"ok": …}`` is added.

    A command of another distribution may use it: ``for entry in run.entries: …``, or
    ``run.each_entry(act, show)``.
    """

    source: str | None = None
    names: list[str] = field(default_factory=list)
    as_json: bool = False
    verbose: bool = False
    document: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    differs: bool = False
    secrets: set[str] = field(default_factory=set, repr=False)
    _models: dict[tuple[Any, ...], list[type] | Exception] = field(default_factory=dict, repr=False)

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Run:
        """How to report errors must be known before the arguments are understood."""
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        return cls(as_json="--json" in options, verbose="--verbose" in options)

    def take(self, option: str, value: Any) -> None:
        """Keep an option that was given, before the command or after it."""
        if option == "settings":
            self.source = value
        elif option == "database":
            self.names.extend(value)
        elif option == "json":
            self.as_json = True
        else:
            self.verbose = True

    @property
    def exit_code(self) -> int:
        """0, or 1 once something failed, or 3 if a comparison found a difference."""
        return 1 if self.failed else 3 if self.differs else 0

    # -- printing --------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A line of the result."""
        if not self.as_json:
            click.echo(text)

    def note(self, text: str) -> None:
        """Something beside the result that the user should know."""
        self.document.setdefault("notes", []).append(text)
        self.say_aside(f"note: {text}")

    def say_aside(self, text: str) -> None:
        """A line on standard error, where results are not."""
        if not self.as_json:
            click.echo(text, err=True)

    def fail(self, failure: Failure, entry: str = "") -> None:
        """Report what went wrong; the run goes on and ends with 1."""
        self.failed = True
        if not entry:
            self.document.update(failure.as_dict())
        for line in failure.lines(entry):
            self.say_aside(line)
        if self.verbose and failure.error is not None and not isinstance(failure.error, click.ClickException):
            click.echo(trace_of(failure.error, self.secrets), err=True)

    def print_document(self) -> None:
        """Under --json: all of it, once. A command that kept nothing has printed for itself."""
        if self.as_json and self.document:
            click.echo(json.dumps({"ok": not self.failed, **self.document}, indent=2, default=str))

    @contextmanager
    def noting_log(self) -> Iterator[None]:
        """Make notes of the library's warnings, and with --verbose show its other log lines."""
        log = logging.getLogger("db_plugins")
        handler, level = _Notes(self), log.level
        log.addHandler(handler)
        log.setLevel(logging.DEBUG if self.verbose else logging.WARNING)
        try:
            yield
        finally:
            log.setLevel(level)
            log.removeHandler(handler)

    # -- settings --------------------------------------------------------------------------------------------------

    @cached_property
    def file(self) -> SettingsFile:
        """The settings; says where they come from. Raises ConfigError."""
        from ..config import SettingsWarning, load_settings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SettingsWarning)  # they come back as notes
            file = load_settings(self.source)
        self.document["settings"] = file.source
        self.say_aside(f"settings: {file.source}")
        for note in file.warnings:
            self.note(note)
        return file

    @cached_property
    def entries(self) -> list[Entry]:
        """The entries that --database names, or all. Raises ConfigError."""
        from ..config import choose_entry

        chosen = [choose_entry(self.file, name)[0] for name in self.names] or self.file.entries
        return [Entry(self, name) for name in dict.fromkeys(chosen)]

    def each_entry(
        self,
        act: Callable[[Entry, Database], Facts],
        show: Callable[[Facts], str],
        *,
        entries: Sequence[Entry] | None = None,
        stops: bool = False,
    ) -> None:
        """Do this on the Database of each entry (of these), whatever happens on the others, unless it ``stops`` there.

        ``act`` returns what it found, with ``ok: False`` and ``error`` if that is bad; ``show`` makes text of it.
        """
        entries = self.entries if entries is None else entries
        results = self.document["entries"] = []
        for number, entry in enumerate(entries, 1):
            facts: Facts = {"name": entry.name, "ok": False}
            results.append(facts)
            failure = self._try(entry, facts, act)
            if failure is None or failure.error is None:  # what was found, be it good or bad
                self.say(show(facts))
            if failure is not None:
                self.fail(failure, entry.name)
            if stops and failure is not None and (left := [each.name for each in entries[number:]]):
                self.note(f"not done after that: {', '.join(left)}")
                break
        bad = [facts["name"] for facts in results if not facts["ok"]]
        if bad:
            self.document["error"] = f"{len(bad)} of {len(results)} entries failed: {', '.join(bad)}"

    def _try(self, entry: Entry, facts: Facts, act: Callable[[Entry, Database], Facts]) -> Failure | None:
        """Fill in the facts of one entry; what went wrong, if anything did."""
        try:
            facts["engine"], facts["address"] = entry.settings.engine, entry.settings.address
            with entry.connect() as db:
                facts["engine"] = db.engine
                facts.update({"ok": True, **act(entry, db)})
        except Exception as error:
            failure = failure_of(error, self.secrets)
            facts.update({**entry.partial, **failure.as_dict(), "ok": False})
            return failure
        except BaseException:  # interrupted: what was done is in the document
            facts.update(entry.partial)
            raise
        return None if facts["ok"] else Failure(facts["error"], hint=facts.get("hint"))

    def models_of(self, settings: Settings) -> list[type]:
        """The models of an entry, loaded once; says so where nobody named them. Raises ConfigError."""
        from ..config import load_models, model_names

        names, where = model_names(self.file, settings)
        key = tuple(names)
        if key not in self._models:
            if names and self.file.models is None and settings.models is None:
                self.note(f"without MODELS the models are those of {where}")
            try:
                self._models[key] = load_models(names, where)
            except Exception as error:
                self._models[key] = error
        found = self._models[key]
        if isinstance(found, Exception):
            raise found
        return found


class _Notes(logging.Handler):
    """Hands log lines to a Run."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def emit(self, record: logging.LogRecord) -> None:
        """Called by ``logging`` for each line."""
        if record.levelno >= logging.WARNING:
            self.run.note(record.getMessage())
        else:
            click.echo(record.getMessage(), err=True)


class Entry:
    """One entry of the settings, validated when it is looked at."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        #: What a command knows though it fails, for --json.
        self.partial: Facts = {}

    @cached_property
    def settings(self) -> Settings:
        """Its Settings. Raises ConfigError and PluginError."""
        from ..config import make_settings

        file = self.run.file
        settings = make_settings(self.name, file.entries[self.name], source=file.source)
        settings = replace(settings, home=file.folder)
        self.run.secrets.update(_secrets_of(settings))
        return settings

    @property
    def models(self) -> list[type]:
        """Its models. Raises ConfigError, with the file and line of a failing import."""
        return self.run.models_of(self.settings)

    @property
    def models_alone(self) -> list[type]:
        """Its models though its plugin is missing, or its other keys are wrong. Raises ConfigError."""
        from ..config import Settings, own_models

        file = self.run.file
        own = own_models(self.name, file.entries[self.name], source=file.source)
        return self.run.models_of(Settings(name=self.name, plugin="", engine="", models=own))

    def connect(self) -> Database:
        """Its Database. Nothing is connected yet."""
        from ..database import Database

        return Database(self.settings, lambda: self.models)

    def connect_async(self) -> AsyncDatabase:
        """The same, to be awaited."""
        from ..async_database import AsyncDatabase, LoopDatabase

        return AsyncDatabase(LoopDatabase(self.settings, lambda: self.models))


def _secrets_of(settings: Settings) -> Iterator[str]:
    """The secrets of an entry, and the password inside a URL among them."""
    from ..config import Secret

    for value in vars(settings).values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Secret):
                text = each.reveal()
                yield text
                password = text.partition("://")[2].rpartition("@")[0].partition(":")[2]
                yield from {password, unquote(password)} - {""}
