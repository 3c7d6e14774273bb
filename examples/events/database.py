"""The connecting point: the base of the models, and what an endpoint asks for when it wants the database.

Which database that is stands in DATABASE_URL, or in a settings.py, and nowhere in the program.
"""

from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import declarative_base

from db_plugins import Database
from db_plugins.fastapi import get_db

Base = declarative_base()

Db = Annotated[Database, Depends(get_db)]
