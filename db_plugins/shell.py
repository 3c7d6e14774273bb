"""What ``dbp shell`` runs: the names that a prompt or a program finds, and the running itself. ``await`` is understood.

make_names(…)     the namespace: databases, models, and_ or_ not_ func
Code(names)       runs code in it; what is awaited runs on one event loop, which ends with it
interact(…)       a prompt: IPython if it is installed, else Python's own with readline
"""

from __future__ import annotations

import ast
import builtins
import code
import importlib
import importlib.util
import inspect
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import __version__
from .errors import DbPluginsError

if TYPE_CHECKING:
    import asyncio

    from .async_database import AsyncDatabase
    from .database import Database

__all__ = ["Code", "banner", "choose", "has_ipython", "interact", "make_names"]

#: Exported by the package, for conditions.
WORDS = ("and_", "or_", "not_", "func")
OURS = ("db", "adb", "databases", *WORDS)
WIDTH = 100


def choose(names: Sequence[str]) -> str | None:
    """Which entry is ``db``: the only one, else ``default``, else none."""
    if len(names) == 1:
        return names[0]
    return "default" if "default" in names else None


def make_names(
    databases: Mapping[str, Database],
    db: Database | None,
    adb: AsyncDatabase | None,
    models: Iterable[type],
) -> tuple[dict[str, Any], list[str]]:
    """The namespace, and what must be said of it: models that are called like something else get a ``_`` at their end."""
    import db_plugins

    names: dict[str, Any] = {"databases": dict(databases)}
    names.update({word: getattr(db_plugins, word) for word in WORDS})
    names.update({name: found for name, found in (("db", db), ("adb", adb)) if found is not None})
    notes = []
    for model in dict.fromkeys(models):
        name = model.__name__
        while name in names or name in OURS:
            name += "_"
        if name != model.__name__:
            taken = names.get(model.__name__)
            other = _path(taken) if isinstance(taken, type) else f"the shell's own {model.__name__!r}"
            notes.append(f"the model {_path(model)} is {name} here, for {other} has that name")
        names[name] = model
    return {"__name__": "__main__", "__builtins__": builtins, **names}, notes


def _path(model: type) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def banner(settings: str, names: Mapping[str, Any], *, address: str | None) -> str:
    """What stands above the first prompt."""
    databases = list(names["databases"])
    models = [name for name, found in names.items() if isinstance(found, type)]
    rows = {
        "db": address
        if "db" in names
        else f'is not here, for no entry is called "default": use databases["{databases[0]}"], or start with --database',
        "adb": "the same, awaited: await adb.query(…).count()" if "adb" in names else None,
        "databases": ", ".join(databases),
        "models": ", ".join(models) or "none",
        "also": ", ".join(WORDS),
    }
    lines = [f"db_plugins {__version__}, settings {settings}"]
    for name, said in rows.items():
        if said:
            lines += textwrap.wrap(
                f"  {name:<9}  {said}", WIDTH, subsequent_indent=" " * 13, break_long_words=False
            )
    return "\n".join([*lines, "Ctrl-D leaves."])


class Code:
    """Runs code in one namespace. A context manager: its event loop, if any was needed, ends with it."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self._loop: asyncio.Runner | None = None

    def run(self, compiled: CodeType) -> None:
        """Run it, and if it awaits something, until that is done. Raises what it raises."""
        made = FunctionType(compiled, self.names)()
        if inspect.iscoroutine(made):
            self._runner().run(made)

    def run_program(self, text: str, file: str) -> None:
        """Run a whole program; ``file`` is what tracebacks call it."""
        self.run(compile(text, file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))

    def _runner(self) -> asyncio.Runner:
        if self._loop is None:
            import asyncio

            self._loop = asyncio.Runner()
        return self._loop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._loop is not None:
            self._loop.close()


def has_ipython() -> bool:
    """Is IPython installed? Imports nothing."""
    return importlib.util.find_spec("IPython") is not None


def interact(running: Code, said: str, *, plain: bool = False) -> None:
    """A prompt until Ctrl-D. IPython where it is installed, unless ``plain``. Raises SystemExit for ``exit()``."""
    if has_ipython() and not plain:
        _interact_ipython(running, said)
        return
    with _completion(running.names):
        _Console(running).interact(banner=said, exitmsg="")


def _interact_ipython(running: Code, said: str) -> None:
    ipython = importlib.import_module("IPython")
    config = importlib.import_module("traitlets.config").Config()
    config.TerminalInteractiveShell.banner1 = f"{said}\n"
    config.TerminalInteractiveShell.confirm_exit = False
    ipython.start_ipython(argv=[], user_ns=running.names, config=config)
    shell, adb = ipython.get_ipython(), running.names.get("adb")
    if shell is not None and adb is not None:
        with suppress(Exception):  # its loop is not ours, and the process ends
            shell.loop_runner(adb.close())


class _Console(code.InteractiveConsole):
    """Python's own prompt. An error of ours is its fact and its hint; of another the traceback begins at what was typed."""

    FILE = "<shell>"

    def __init__(self, running: Code) -> None:
        super().__init__(running.names, self.FILE)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._running = running

    def runcode(self, code: CodeType) -> None:
        """Called for each statement. Whatever happens, the prompt comes back."""
        try:
            self._running.run(code)
        except SystemExit:
            raise
        except KeyboardInterrupt:
            self.write("\nKeyboardInterrupt\n")
        except DbPluginsError as error:
            self.write(f"{type(error).__name__}: {error}\n")
        except BaseException as error:
            own = error.with_traceback(_since(self.FILE, error.__traceback__))
            self.write("".join(traceback.format_exception(own)))


def _since(file: str, trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    return trace


@contextmanager
def _completion(names: dict[str, Any]) -> Iterator[None]:
    """The tab key completes these names, where there is a readline."""
    try:
        import readline
        import rlcompleter
    except ImportError:
        yield
        return
    before: Callable[[str, int], str | None] | None = readline.get_completer()
    readline.set_completer(rlcompleter.Completer(names).complete)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)
