"""Settings that would let everybody in are refused at start, in one line that gives the remedy."""

import pytest

from ingest.errors import SettingsError
from ingest.settings import ServeSettings
from serve.bridge.access.callers import NoLogin
from serve.bridge.access.key_file import KeyFileError
from serve.bridge.access.logins import check_logins, make_logins


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.7", "telemetry.example", "127.0.0.1.example", ""]
)
def test_no_login_is_for_the_loopback_only(host: str) -> None:
    with pytest.raises(SettingsError, match=r"AUTH_MODE=none: .*AUTH_MODE=keys") as refused:
        check_logins(ServeSettings.model_construct(host=host, auth_mode="none"))
    assert "\n" not in str(refused.value)


def test_a_page_behind_a_proxy_is_open_wherever_it_listens() -> None:
    with pytest.raises(SettingsError, match=r"AUTH_MODE=none: .*WS_PROXIES=127\.0\.0\.1"):
        check_logins(ServeSettings(host="127.0.0.1", proxies="127.0.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_login(host: str) -> None:
    assert isinstance(make_logins(ServeSettings(host=host)), NoLogin)


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"auth_mode": "keys"}, "AUTH_KEYS_FILE"),
        ({"auth_mode": "jwt"}, "AUTH_ISSUER"),
        ({"auth_mode": "jwt", "auth_issuer": "https://id.example"}, "AUTH_AUDIENCE"),
    ],
)
def test_missing_setting_is_named(given: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_logins(ServeSettings(host="0.0.0.0", **given))
    assert refused.value.variable == variable


def test_missing_file_is_refused_at_start_only(tmp_path) -> None:
    serve = ServeSettings(auth_mode="keys", auth_keys_file=str(tmp_path / "keys"))
    with pytest.raises(KeyFileError, match="purple-sector access add"):
        check_logins(serve)
    assert make_logins(serve).required


@pytest.mark.parametrize(
    "issuer",
    ["http://id.example", "id.example", "ftp://id.example", "https://id.example?a=b", "https://"],
)
def test_issuer_is_https_or_on_the_loopback(issuer: str, monkeypatch) -> None:
    monkeypatch.setenv("AUTH_ISSUER", issuer)
    with pytest.raises(SettingsError, match="AUTH_ISSUER"):
        ServeSettings.read()


@pytest.mark.parametrize(
    "issuer", ["https://id.example/realms/x/", "http://127.0.0.1:9/x", "http://[::1]:9"]
)
def test_issuer_is_kept_as_it_is_written(issuer: str, monkeypatch) -> None:
    monkeypatch.setenv("AUTH_ISSUER", issuer)
    assert ServeSettings.read().auth_issuer == issuer
