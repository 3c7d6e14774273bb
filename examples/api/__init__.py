"""A web application over any engine: see ``app.py``."""
