"""A sky survey's alerts, kept in two databases by one program: see ``survey.py``."""
