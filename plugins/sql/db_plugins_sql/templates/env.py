"""What plain `alembic` runs here: the entry of the settings, under dbp's lock, with dbp's options."""

from db_plugins_sql.migrations.environment import run

run()
