"""Migrations of MongoDB: what models need, how the database differs, and the operations that bring it there.

schema.py      pure: models → collections with their indexes and validators
options.py     pure: what a model's ``info`` says for MongoDB, checked
validators.py  pure: columns → ``$jsonSchema``; wording.py: the difference of two in words
state.py       the server → the same collections; revision files → what they own
difference.py  the two compared: Changes; fields.py: those of fields
rendering.py   pure: values → source of a revision
operations.py  ``op``: what a revision file says
steps.py       an operation: what it sends, and what it refuses before
collection_steps.py, document_steps.py   those about collections and indexes, and about fields and data
locks.py       the lease
journal.py     heads, and which operations are done
running.py     runs a revision, operation by operation
role.py        SupportsMigrations, of MongoConnection
"""
