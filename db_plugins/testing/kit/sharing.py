"""One Database shared by threads, and by a process and its children."""

from __future__ import annotations

import json
import os
import threading
import traceback
from typing import Any

import pytest

from db_plugins import Capability

from .harness import Connect, Harness, faces, subject
from .models import Star

__all__ = ["Sharing"]


@subject("sharing", Capability.WRITE)
class Sharing(Harness):
    """API §3: threads and forks."""

    def test_threads_share_a_database(self, connect: Connect) -> None:
        db = connect(Star)
        failures: list[BaseException] = []
        gate = threading.Barrier(8)

        def work(thread: int) -> None:
            try:
                gate.wait(30)
                for n in range(5):
                    name = f"{thread}-{n}"
                    star = db.query(Star).insert({"name": name, "mag": n})
                    assert db.query(Star).get(star.id).name == name  # type: ignore[union-attr]
                    db.query(Star).update(star, {"band": "X"})
                    assert db.query(Star).filter(name=name, band="X").count() == 1
                    assert len(db.query(Star).filter(Star.name.in_([name])).order_by("-mag").all()) == 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        assert db.query(Star).filter(band="X").count() == 40

    @faces("sync")
    def test_threads_that_are_the_first_to_use_it_make_one_connection(
        self, connect: Connect, entry: dict[str, Any]
    ) -> None:
        db = connect(Star)
        db.close()
        found: list[object] = []
        gate = threading.Barrier(8)

        def work() -> None:
            gate.wait(30)
            found.append(db._root_runner().connection)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({id(connection) for connection in found}) == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:UserWarning")
    def test_a_forked_child_connects_by_itself_and_harms_the_parent_not(self, connect: Connect) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "parent"})
        answer = _in_child(lambda: [s.name for s in _use(db)])
        assert answer in (["parent", "child"], ["child"]), answer
        assert db.query(Star).insert({"name": "after"}).name == "after"
        assert db.query(Star).filter(name="parent").count() == 1


def _use(db: Any) -> list[Star]:
    db.create_all()  # a database in memory is a new one in the child
    db.query(Star).insert({"name": "child"})
    return list(db.query(Star).order_by("id").all())


def _in_child(work: Any) -> Any:
    """What ``work`` returns in a forked child. The child ends without running what its parent's end runs."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        try:
            answer = json.dumps(work())
        except BaseException:
            answer = json.dumps(traceback.format_exc())
        os.write(write, answer.encode()[:60_000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(pid, 0)
    return json.loads(answer)
