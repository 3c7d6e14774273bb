"""MyEngine as a database of db_plugins: ``{"ENGINE": "myengine"}``."""

from .engine import MyEngine, MyEngineConnection

__all__ = ["MyEngine", "MyEngineConnection"]
