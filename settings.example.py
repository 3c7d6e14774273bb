"""Every setting there is. Copy it to ``settings.py``, keep what you need, and run ``dbp initdb``.

Only ``DB_CONFIG`` is needed. The keys that are commented out may be left out. ``docs/settings.md`` says
what each means.
"""

import os

DB_CONFIG = {
    # A file: the engine and the file's name are enough.
    "SQL": {
        "ENGINE": "sqlite",  # or "sqlite+pysqlite": a driver may follow a plus sign
        "DB_NAME": "stars.db",  # also DATABASE
        # "ECHO": True,  # log every statement, without its values
        # "SLOW_QUERY_MS": 250,  # log statements that take longer
        # "TEST": {"ENGINE": "sqlite", "DB_NAME": ":memory:"},  # what tests use
    },
    # A server. The entry's name chooses the plugin, where ENGINE or PLUGIN do not. Nothing is connected, and the
    # plugin need not be installed, until the entry is used.
    "MONGO": {
        "HOST": "localhost",
        "PORT": 27017,
        "DB_NAME": "stars",
        # "AUTH_SOURCE": "admin",  # the database that knows the user
    },
    "archive": {
        "ENGINE": "postgresql",
        "HOST": "db.example.org",  # or the folder of a Unix socket
        "PORT": 5432,
        "USER": "ann",  # also USERNAME
        # Any characters, and nothing is quoted. The variable DB_CONFIG__ARCHIVE__PASSWORD overrides it, or
        # DB_CONFIG__ARCHIVE__PASSWORD_FILE, the name of a file. So it is for every key.
        "PASSWORD": os.environ.get("ARCHIVE_PASSWORD"),
        "DB_NAME": "old_stars",
        "TLS": "verify",  # "off", "require", or "verify": encrypted, and the server's certificate is checked
        # "URL": "postgresql://ann:p%40ss@db.example.org:5432/old_stars",  # all of the above in one; also
        # "SQLALCHEMY_DATABASE_URL": "…",  # under this name
        # "PLUGIN": "sql",  # the plugin that answers, where ENGINE and the entry's name do not say it
        # "SCHEMA": "catalogue",  # where the tables live
        # "CONNECT_TIMEOUT": 5,  # seconds to wait for the server
        # "QUERY_TIMEOUT": 30,  # seconds that one statement may take
        # "POOL_SIZE": 5,  # connections that are kept; they are opened on demand
        # "MAX_OVERFLOW": 10,  # connections beyond these, closed after use
        # "POOL_TIMEOUT": 30,  # seconds to wait for a free one
        # "POOL_RECYCLE": 1800,  # seconds after which a connection is replaced
        # "OPTIONS": {"application_name": "stars"},  # handed to the driver untouched
        # "ASYNC_OPTIONS": {},  # the same for the async driver
        # Checked, and not used yet (docs/growing.md):
        # "REPLICAS": ["replica1.example.org", "replica2.example.org:5433"],  # to read from; URLs too
        # "STICKY_SECONDS": 2,  # read from the main server so long after a write
        # "MODELS": ["app.archive_models"],  # this entry's models, instead of those below
        # "MIGRATIONS": "migrations/archive",  # the folder of its revisions
    },
}

# Modules whose mapped classes are the models, or single classes. Without it: the module `models`, if there is
# one in the current folder.
# MODELS = ["app.models", "app.users:User"]
