"""Makes the logins that the settings choose, and refuses settings that let everybody in."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ingest.errors import SettingsError
from ingest.settings import ServeSettings, is_loopback
from serve.bridge.access.callers import Authenticator, NoLogin
from serve.bridge.access.key_file import KeyLogins, read_keys


@dataclass(frozen=True, slots=True)
class LoginOffer:
    """Holds what the page needs before a login. With ``client_id`` it uses OpenID Connect."""

    mode: str = "none"
    issuer: str = ""
    client_id: str = ""
    audience: str = ""

    @property
    def issuer_origin(self) -> str:
        """Return the origin that the page connects to for a login; empty for none."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}" if self.client_id else ""


def offer_of(serve: ServeSettings) -> LoginOffer:
    """Return what the settings offer to the page."""
    if serve.auth_mode != "jwt" or not serve.auth_client_id:
        return LoginOffer(serve.auth_mode)
    return LoginOffer(serve.auth_mode, serve.auth_issuer, serve.auth_client_id, serve.auth_audience)


def make_logins(serve: ServeSettings) -> Authenticator:
    """Return the logins of AUTH_MODE; they are not started.

    Raises SettingsError where a setting is missing or lets everybody in.
    """
    match serve.auth_mode:
        case "keys":
            return _keys(serve)
        case "jwt":
            return _tokens(serve)
        case _:
            return _none(serve)


def check_logins(serve: ServeSettings) -> None:
    """Check the settings of logins, before anything is started.

    Raises what `make_logins` raises, and KeyFileError. A page that runs goes on without the file.
    """
    make_logins(serve)
    if serve.auth_mode == "keys":
        read_keys(Path(serve.auth_keys_file))


def _none(serve: ServeSettings) -> Authenticator:
    if not is_loopback(serve.host):
        raise _everybody(f"WS_HOST={serve.host}", "; or WS_HOST=127.0.0.1")
    if serve.proxies:
        raise _everybody(f"the proxies at WS_PROXIES={serve.proxies}")
    return NoLogin()


def _everybody(place: str, other: str = "") -> SettingsError:
    return SettingsError(
        "AUTH_MODE",
        "none",
        f"lets everybody in who reaches {place}: set AUTH_MODE=keys and AUTH_KEYS_FILE"
        f" (purple-sector access add), or AUTH_MODE=jwt{other}",
    )


def _keys(serve: ServeSettings) -> Authenticator:
    if not serve.auth_keys_file:
        raise SettingsError(
            "AUTH_KEYS_FILE", "", "AUTH_MODE=keys wants a file; purple-sector access add makes it"
        )
    return KeyLogins(Path(serve.auth_keys_file))


def _tokens(serve: ServeSettings) -> Authenticator:
    for name, value in (("AUTH_ISSUER", serve.auth_issuer), ("AUTH_AUDIENCE", serve.auth_audience)):
        if not value:
            raise SettingsError(name, "", "AUTH_MODE=jwt wants it, as the tokens have it")
    from serve.bridge.access.token_logins import TokenLogins
    from serve.bridge.access.tokens import TokenRules

    return TokenLogins(
        TokenRules(
            serve.auth_issuer,
            serve.auth_audience,
            serve.auth_algorithms,
            serve.auth_name_claim,
            serve.auth_role_claim,
        )
    )
