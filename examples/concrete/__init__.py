"""An SDK for teams of language models, and the database beside it: see ``models.py``, ``sdk.py`` and ``recorder.py``."""

from .database import Session, get_db

__all__ = ["Session", "get_db"]
