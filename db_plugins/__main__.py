"""``python -m db_plugins`` is ``dbp``."""

from .cli import main

if __name__ == "__main__":
    main()
