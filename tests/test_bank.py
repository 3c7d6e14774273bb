"""A bank whose server is killed: six threads move money while the server dies by ``kill -9`` and comes back, again and again.

Afterwards every transfer that was acknowledged is there, none that failed is, none counts twice, and no money was made.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import Database, errors

THREADS = 6
ACCOUNTS = 8
EACH = 100
KILLS = 5
BETWEEN_KILLS = 0.8

#: SecantusDB 0.7.0b3 answers 251, "transient", to a commit that is sent again after a restart, though it had stored the
#: transaction. The driver's word for that is *nothing was stored*, so the work is done again and meets itself.
STORED_THOUGH_TRANSIENT = ("mongodb",)


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "bank_account"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]


class Transfer(Base):
    """What was moved; the key is the caller's, so that the same transfer cannot be there twice."""

    __tablename__ = "bank_transfer"
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    source: Mapped[int]
    target: Mapped[int]
    amount: Mapped[int]


class Bank:
    """What the threads were told of their transfers."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.acknowledged: set[str] = set()
        self.unknown: set[str] = set()
        self.failed: dict[str, errors.EngineError] = {}
        self.surprises: list[BaseException] = []
        self.is_open = True

    def work(self, thread: int) -> None:
        """Every second transfer is retried by ``run_transaction``, every other is a ``transaction()`` of its own."""
        chance = random.Random(thread)
        n = 0
        while self.is_open and not self.surprises:
            n += 1
            name = f"{thread}-{n}"
            source, target = chance.sample(range(1, ACCOUNTS + 1), 2)
            move = transfer(name, source, target, chance.randint(1, 9))
            try:
                self._run(move) if n % 2 else self.db.run_transaction(move, retries=5)
            except errors.OutcomeUnknownError:
                self.unknown.add(name)
            except errors.EngineError as error:
                self.failed[name] = error
                time.sleep(0.02)
            except BaseException as error:
                self.surprises.append(error)
            else:
                self.acknowledged.add(name)

    def _run(self, move: Callable[[Database], None]) -> None:
        with self.db.transaction() as tx:
            move(tx)


def transfer(name: str, source: int, target: int, amount: int) -> Callable[[Database], None]:
    def move(tx: Database) -> None:
        accounts = tx.query(Account).get_many([source, target])
        for key, change in ((source, -amount), (target, amount)):
            tx.query(Account).update(accounts[key], {"balance": accounts[key].balance + change})
        tx.query(Transfer).insert({"id": name, "source": source, "target": target, "amount": amount})

    return move


def await_transfers(bank: Bank) -> None:
    """Let the threads work for a while, and until ten more transfers were acknowledged: the next kill meets them at work."""
    before, deadline = len(bank.acknowledged), time.monotonic() + 30
    time.sleep(BETWEEN_KILLS)
    while len(bank.acknowledged) < before + 10 and not bank.surprises:
        assert time.monotonic() < deadline, "the server is back, and nobody gets on"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "mongodb"])
def test_no_transfer_is_lost_doubled_or_made_up_while_the_server_is_killed(
    kind: str, own_server: Any
) -> None:
    server = own_server(kind, durable=True)
    name, _url = server.new_database()
    with db_plugins.connect(server.entry(name), models=[Account, Transfer]) as db:
        db.create_all()
        db.query(Account).bulk_insert({"id": n, "balance": EACH} for n in range(1, ACCOUNTS + 1))
        bank = Bank(db)
        threads = [threading.Thread(target=bank.work, args=(n,), daemon=True) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for _ in range(KILLS):
            await_transfers(bank)
            server.kill()
            server.start()
        await_transfers(bank)
        bank.is_open = False
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads), "a call waits for ever"
        assert not bank.surprises, bank.surprises[0]
        check(
            bank,
            {t.id: t for t in db.query(Transfer).all()},
            {a.id: a.balance for a in db.query(Account).all()},
            kind,
        )


def check(bank: Bank, there: dict[str, Transfer], balances: dict[int, int], kind: str) -> None:
    """Of what the threads were told, all is true."""
    told = f"{len(bank.acknowledged)} acknowledged, {len(bank.unknown)} unknown, {len(bank.failed)} failed"
    assert len(bank.acknowledged) >= 10 * KILLS, told
    lost = bank.acknowledged - there.keys()
    assert not lost, f"{len(lost)} acknowledged transfers are gone; {told}"
    ghosts = there.keys() - bank.acknowledged - bank.unknown
    if kind in STORED_THOUGH_TRANSIENT:
        met = {
            n for n in ghosts if isinstance(bank.failed[n], (errors.DuplicateKeyError, errors.ConflictError))
        }
        ghosts -= met
    assert not ghosts, f"{[(n, repr(bank.failed[n])) for n in ghosts]} failed and are there; {told}"
    expected = dict.fromkeys(balances, EACH)
    for one in there.values():
        expected[one.source] -= one.amount
        expected[one.target] += one.amount
    assert balances == expected, f"what the accounts hold is not what the transfers say; {told}"
    assert sum(balances.values()) == ACCOUNTS * EACH
