"""Settings say what is wrong with them, and never what nobody should read."""

import pytest

from ingest.errors import SettingsError
from ingest.settings import DatabaseSettings


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Far from anybody's .env."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://me:hidden@db:5433/laps", "db:5433/laps"),
        ("postgresql://me:hidden@db/laps", "db:5432/laps"),
        ("postgresql:///laps?host=/run/postgresql", "localhost:5432/laps"),
        ("postgresql://me@[::1]:5433/laps", "[::1]:5433/laps"),
        ("postgresql://me@[::1]/laps", "[::1]:5432/laps"),
        ("postgresql://me:hidden@first:5433,second/laps", "first:5433,second:5432/laps"),
    ],
)
def test_an_address_has_no_password(url, address):
    assert DatabaseSettings(url=url).address == address


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hidden@db/laps",
        "postgresql://me:hid/den@db/laps",
        "postgresql://me:12/hidden@db/laps",
        "postgresql://me:hidden\N{FULLWIDTH SOLIDUS}@db/laps",
        "postgresql://me:hidden@[db/laps",
    ],
)
@pytest.mark.parametrize("by_environment", [True, False])
def test_a_wrong_database_url_is_not_shown(url, by_environment, monkeypatch):
    """Whatever is wrong with it, and whoever gave it: half a password is one too."""
    if by_environment:
        monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError) as caught:
        DatabaseSettings.read(**({} if by_environment else {"url": url}))
    assert "***: want postgresql://user" in str(caught.value)
    assert "hid/" not in str(caught.value)
    assert "hidden" not in str(caught.value)
