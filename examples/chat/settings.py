"""Where the chat's rows are: ``DATABASE_URL``, else a SQLite file. The sizes are those of one process's pool."""

import os

DB_CONFIG = {
    "default": {
        "URL": os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///./chat.db"),
        "POOL_SIZE": 5,  # the most connections that stay open; each is opened when it is first needed
        "MAX_OVERFLOW": 10,  # so many more at a time, closed after use
        "POOL_TIMEOUT": 30,  # seconds to wait for a free one, then PoolTimeoutError
        "POOL_RECYCLE": 1800,  # seconds after which a connection is replaced
    }
}
MODELS = ["examples.chat.models"]
