"""Users and their events, behind FastAPI, on any engine: see ``main.py``."""
