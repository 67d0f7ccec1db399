"""Settings that contradict each other are refused before anything starts."""

import pytest

from ingest.errors import SettingsError
from serve.bridge.access.key_file import change_keys
from serve.local.system import advice_for_root, run_local, start_on_cluster


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """Logins with keys, on topics that prove no user."""
    file = tmp_path / "keys"
    change_keys(file, lambda entries: entries)
    monkeypatch.setenv("AUTH_MODE", "keys")
    monkeypatch.setenv("AUTH_KEYS_FILE", str(file))
    monkeypatch.delenv("KAFKA_TOPIC_PER_USER", raising=False)


@pytest.mark.usefixtures("keys")
def test_logins_on_shared_topics_do_not_start_here(tmp_path):
    with (
        pytest.raises(SettingsError, match="KAFKA_TOPIC_PER_USER"),
        run_local(tmp_path, durable=False, report=lambda _: None),
    ):
        pass


@pytest.mark.usefixtures("keys")
def test_logins_on_shared_topics_do_not_start_on_a_cluster():
    with pytest.raises(SettingsError, match="KAFKA_TOPIC_PER_USER"):
        start_on_cluster(None, lambda _: None)


def test_a_start_as_root_is_advised_against():
    assert "as a user of its own" in advice_for_root(0)
    assert advice_for_root(1000) == ""
