"""SQLAlchemy's state of an object, made when somebody first asks for it.

An InstanceState takes two thirds of the time that a row needs to become an object, and more memory than the row; an
object that is only read never needs one. So objects are made without, and a descriptor on the mapped class makes it at
the first change, ``session.add``, relationship, ``inspect`` or pickle: as ``make_transient_to_detached`` would have left
it. An object without a state is told from one that is only being constructed by its primary key, which it holds.

``_sa_instance_state`` is the name under which SQLAlchemy looks for it, and this the only file that says it;
``tests/test_objects.py`` notices when a release looks elsewhere.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import instance_state

__all__ = ["make_states_lazily"]

_NAME = "_sa_instance_state"
_lock = threading.Lock()


def make_states_lazily(mapper: Mapper[Any]) -> None:
    """Let objects of this mapper's class be made without a state. Done once; classes that are mapped stay as they are."""
    cls = mapper.class_
    if isinstance(cls.__dict__.get(_NAME), _LazyState):
        return
    # Past the metaclass, which would take it for something to map.
    type.__setattr__(cls, _NAME, _LazyState(mapper))
    getstate = cls.__getstate__
    if not getattr(getstate, "makes_state", False):
        type.__setattr__(cls, "__getstate__", _with_state(getstate))


class _LazyState:
    """A non-data descriptor: asked only while the object's own ``__dict__`` has no state."""

    def __init__(self, mapper: Mapper[Any]) -> None:
        self._manager = mapper.class_manager
        self._key = tuple([mapper.get_property_by_column(column).key for column in mapper.primary_key])
        self._identity = mapper.identity_key_from_primary_key((None,) * len(self._key))[0]

    def __get__(self, instance: Any, owner: type) -> Any:
        values = getattr(instance, "__dict__", {})
        if instance is None or not all(name in values for name in self._key):
            raise AttributeError(f"type object or instance of {owner.__name__!r} has no attribute {_NAME!r}")
        with _lock:
            if _NAME not in values:
                key = tuple([values[name] for name in self._key])
                self._manager.setup_instance(instance)
                # What make_transient_to_detached does, for a state that has only loaded values.
                values[_NAME].key = (self._identity, key, None)
        return values[_NAME]


def _with_state(getstate: Any) -> Any:
    """So that a pickled object has its state in a process that knows nothing of this file."""

    def __getstate__(self: Any) -> Any:
        with suppress(AttributeError):  # an object that is only being constructed
            instance_state(self)
        return getstate(self)

    __getstate__.makes_state = True  # type: ignore[attr-defined]
    return __getstate__
