"""Migrations of the SQL engines, over Alembic: what differs, and revisions run under a lock.

role.py         what SQLConnection gives the core: ``SupportsMigrations``
running.py      a database under its lock: SQLite and PostgreSQL all or nothing, MariaDB by its journal
locks.py        who holds the lock, and waiting for it
rebuilds.py     SQLite's batch mode, which makes a table anew, so that nothing else of it is lost
journal.py      MariaDB: which statements of a revision are done
losses.py       what a revision is to drop, and still holds values
environment.py  the same for plain ``alembic``: what ``env.py`` calls
"""
