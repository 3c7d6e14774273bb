"""The databases of this project, and its models. ``dbp health`` shows whether they can be reached."""

from pathlib import Path

DB_CONFIG = {
    # The entry that db_plugins.connect() uses. SQLite needs no server: the file is made by `dbp initdb`.
    "default": {
        "ENGINE": "sqlite",
        "DB_NAME": str(Path(__file__).with_name("app.db")),
    },
    # Others are reached by name: db_plugins.connect("archive"). Leave passwords out of this file, and set them in the
    # environment: DB_CONFIG__ARCHIVE__PASSWORD=…, or DB_CONFIG__ARCHIVE__PASSWORD_FILE=… with the name of a file.
    #
    # "archive": {
    #     "ENGINE": "postgresql",  # or "mariadb", "mysql"
    #     "HOST": "localhost",
    #     "PORT": 5432,
    #     "USER": "app",
    #     "DB_NAME": "app",
    # },
    # "documents": {
    #     "ENGINE": "mongodb",
    #     "HOST": "localhost",
    #     "PORT": 27017,
    #     "DB_NAME": "app",
    # },
    # "cloud": {"URL": "postgresql://db.example.org/app", "TLS": "verify"},
}

# Modules, or single classes as "module:Class". They are looked for beside this file.
MODELS = ["models"]
