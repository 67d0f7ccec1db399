"""Implements AUTH_MODE=jwt: tokens of an OpenID Connect issuer."""

from serve.bridge.access.callers import Caller, NotAuthenticated, Refusal
from serve.bridge.access.signing_keys import SigningKeys
from serve.bridge.access.tokens import TokenRules, caller_of, key_id_of


class TokenLogins:
    """Turns the issuer's tokens into callers."""

    required = True

    def __init__(self, rules: TokenRules, keys: SigningKeys | None = None) -> None:
        self._rules = rules
        self._keys = keys or SigningKeys(rules.issuer, rules.family)

    def authenticate(self, credential: str, now_s: float) -> Caller:
        """Return the caller whom this token proves. Raises NotAuthenticated."""
        key_id = key_id_of(credential, self._rules)
        key = self._keys.find(key_id)
        if key is None:
            known = self._keys.available
            raise NotAuthenticated(
                Refusal.UNKNOWN_SIGNING_KEY if known else Refusal.KEYS_UNAVAILABLE
            )
        return caller_of(credential, self._rules, key, now_s)

    def still_valid(self, caller: Caller, now_s: float) -> bool:
        """Return whether the token has not expired."""
        return not caller.expired(now_s)

    def start(self) -> None:
        """Begin to fetch the issuer's keys."""
        self._keys.start()

    def stop(self) -> None:
        """End the thread that fetches them."""
        self._keys.stop()
