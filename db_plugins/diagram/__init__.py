"""A picture of models: what they hold, and how they refer to each other. No database is asked.

read(models)      what is to be drawn: a Picture of entities and relations     reading.py, picture.py
mermaid(picture)  as an ``erDiagram``, which code hosts show in Markdown        mermaid_text.py
dot(picture)      in graphviz's language                                        dot_text.py
svg(picture)      drawn by graphviz's program ``dot``                           dot_text.py
"""

from .dot_text import dot, svg
from .mermaid_text import mermaid
from .picture import Attribute, End, Entity, Picture, Relation
from .reading import read

__all__ = ["Attribute", "End", "Entity", "Picture", "Relation", "dot", "mermaid", "read", "svg"]
