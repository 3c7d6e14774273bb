"""Alembic's operations as changes: in words, as source, in an order in which all that is referred to is there.

state.py         what is compared, what was found so far, and the order it comes out in
everything.py    takes Alembic's operations in, table by table
tables.py        made, dropped
renames.py       of tables and columns
columns.py       added, dropped, altered
indexes.py       and vector indexes
constraints.py   unique, check, foreign keys
enums.py         named enums: made, altered, dropped
reflected.py     what the database has, in the words of a revision: for the way back
"""

from .enums import compare_enums
from .everything import take
from .renames import check_renames
from .state import State
from .tables import create_tables

__all__ = ["State", "check_renames", "compare_enums", "create_tables", "take"]
