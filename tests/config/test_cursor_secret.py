"""CURSOR_SECRET: from the environment, else from the settings module or .env; never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from db_plugins.config import resolve
from db_plugins.errors import ConfigError

ENTRY = {"DB_CONFIG": {"main": {"ENGINE": "memory"}}}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CURSOR_SECRET", "DATABASE_URL", "DBP_SETTINGS"):
        monkeypatch.delenv(name, raising=False)


def secret_of(*arguments: object, **more: object) -> str | None:
    """The secret that connect would sign with."""
    settings, _models = resolve(*arguments, **more)  # type: ignore[arg-type]
    assert "s3cr3t" not in repr(settings)
    return None if settings.cursor_secret is None else settings.cursor_secret.reveal()


def test_without_it_cursors_are_not_signed() -> None:
    assert secret_of(settings=ENTRY) is None
    assert secret_of(settings={**ENTRY, "CURSOR_SECRET": ""}) is None


def test_the_environment_comes_before_the_settings_module(monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret_of(settings={**ENTRY, "CURSOR_SECRET": "s3cr3t"}) == "s3cr3t"
    monkeypatch.setenv("CURSOR_SECRET", "s3cr3t too")
    assert secret_of(settings={**ENTRY, "CURSOR_SECRET": "s3cr3t"}) == "s3cr3t too"
    assert secret_of({"ENGINE": "memory"}) == "s3cr3t too"


def test_a_dotenv_file_may_hold_it() -> None:
    env = Path(".env")
    env.write_text("DATABASE_URL=memory://x\nCURSOR_SECRET=s3cr3t\n")
    env.chmod(0o600)
    assert secret_of() == "s3cr3t"


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="CURSOR_SECRET"):
        resolve(settings={**ENTRY, "CURSOR_SECRET": 5})
