"""Data that moves: from one database to another, whatever their engines, and between databases and files.

    copy(source, target)     every row of the models, parents first; can be resumed; compared at the end
    verify(source, target)   compare two databases
    load(db, model, file)    a file's rows into a table: CSV, JSON Lines, Parquet
    dump(db, model, file)    a table's rows into a file

Each takes Databases, and tells how far it is by ``on_progress``. ``load`` and ``dump`` need the extra ``frames``.
"""

from __future__ import annotations

from .copying import copy
from .dumping import dump
from .loading import load
from .reports import (
    Copied,
    CopiedTable,
    Difference,
    Dumped,
    Loaded,
    OnProgress,
    Progress,
    Unfit,
    Verified,
    VerifiedTable,
)
from .verifying import verify

__all__ = [
    "Copied",
    "CopiedTable",
    "Difference",
    "Dumped",
    "Loaded",
    "OnProgress",
    "Progress",
    "Unfit",
    "Verified",
    "VerifiedTable",
    "copy",
    "dump",
    "load",
    "verify",
]
