"""One AsyncDatabase in several loops, after a fork, and after its server was started again."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from db_plugins import Capability, connect_async

from .faults import Faults
from .harness import Harness, subject
from .models import Star
from .sharing import _in_child

__all__ = ["Loops"]

PROGRAM = """
import asyncio, json, sys
import db_plugins
from db_plugins.testing.kit.models import Star

db = db_plugins.connect_async(json.loads(sys.stdin.read()), models=[Star])

async def main(n):
    await db.create_all()
    await db.query(Star).insert({"name": f"s{n}"})
    await asyncio.gather(*(db.query(Star).count() for _ in range(5)))

for n in range(3):
    asyncio.run(main(n))
print("done")
"""


@subject("async", Capability.WRITE)
class Loops(Harness):
    """API §3: connections belong to a loop and to a process."""

    @pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "left open"])
    def test_a_database_works_in_one_loop_after_the_other(
        self, entry: dict[str, Any], is_closed: bool
    ) -> None:
        db = connect_async(entry, models=[Star])

        async def main(n: int) -> list[str]:
            await db.create_all()  # one in memory is a new one in each loop
            await db.query(Star).insert({"name": f"s{n}"})
            found = [s.name for s in await db.query(Star).order_by("name").all()]
            if is_closed:
                await db.close()
            return found

        found = [asyncio.run(main(n)) for n in range(3)]
        if self.is_shared:
            assert found == [["s0"], ["s0", "s1"], ["s0", "s1", "s2"]]
        assert all(f"s{n}" in names for n, names in enumerate(found))
        asyncio.run(db.close())
        gc.collect()  # what was left open says so when it goes

    def test_a_program_that_closes_nothing_ends_quietly(self, entry: dict[str, Any]) -> None:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM)],
            input=json.dumps(entry),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:UserWarning")
    def test_a_forked_child_opens_its_own_connections_and_leaves_its_parents_alone(
        self, entry: dict[str, Any]
    ) -> None:
        async def main() -> None:
            async with connect_async(entry, models=[Star]) as db:
                await db.create_all()
                await asyncio.gather(*(db.query(Star).insert({"name": f"s{n}"}) for n in range(3)))

                def child() -> list[str]:
                    async def use() -> list[str]:
                        await db.create_all()
                        await db.query(Star).insert({"name": "child"})
                        names = [s.name for s in await db.query(Star).order_by("id").all()]
                        await db.close()
                        return names

                    return asyncio.run(use())

                answer = _in_child(child)
                assert isinstance(answer, list), answer
                assert answer[-1] == "child"
                for n in range(20):  # each answer is that of its own question
                    star = await db.query(Star).insert({"name": f"after{n}"})
                    found = await db.query(Star).get(star.id)
                    assert found is not None
                    assert found.name == f"after{n}"

        asyncio.run(main())

    own_server_of_kit = Faults.own_server_of_kit

    def test_after_a_restart_of_the_server_the_next_awaited_call_works(self, own_server_of_kit: Any) -> None:
        server = own_server_of_kit

        async def main() -> None:
            async with connect_async(server.fresh_entry(), models=[Star]) as db:
                await db.create_all()
                await asyncio.gather(*(db.query(Star).insert({"name": f"s{n}"}) for n in range(5)))
                for stop in (server.stop, server.kill):
                    stop()
                    server.start()
                    assert await db.query(Star).count() == 5
                    async with db.transaction() as tx:
                        assert await tx.query(Star).count() == 5

        asyncio.run(main())
