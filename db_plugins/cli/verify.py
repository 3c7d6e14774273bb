"""``dbp verify FROM TO``: are the rows of two entries' databases the same?"""

from __future__ import annotations

import click

from .group import Command
from .run import Run
from .transferring import Meter, models_named, quiet_option, table_facts, two_entries

__all__ = ["command"]


@click.command("verify", cls=Command)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@quiet_option
@click.pass_obj
def command(run: Run, source: str, target: str, models: tuple[str, ...], quiet: bool) -> None:
    """Compare the rows of two entries' databases.

    Of all models of FROM, or of each MODEL named. Fails, and names the first keys, if a model differs.
    """
    from ..errors import VerificationError
    from ..transfer import verify

    from_, to = two_entries(run, source, target)
    chosen = models_named(from_, models)
    run.document.update(source=from_.name, target=to.name)
    with from_.connect() as one, to.connect() as other, Meter(run, quiet=quiet) as show:
        try:
            done = verify(one, other, models=chosen, on_progress=show)
        except VerificationError as error:
            run.document["models"] = table_facts(error.verified)
            raise
    run.document["models"] = table_facts(done)
    for table in done.tables:
        run.say(f"{table.model}: {table.rows:,} rows, checksum {table.checksum}")
    run.say(f"{from_.name} and {to.name} are the same")
    for note in done.notes:
        run.note(note)
