"""Makes the tokens of links. A link holds a token of 256 random bits, and the store its SHA-256.

Pure, but for the random bits. The rule: a token is in the fragment of the page's address, which
browsers send to nobody, and in no path, query, log or error.
"""

import secrets
from hashlib import sha256

#: Marks tokens of links, so that scanners for secrets find one that was published.
PREFIX = "purplelink_"
_TOKEN_BYTES = 32
_LONGEST = 200


def new_token() -> str:
    """Return a new token of 256 random bits, as text."""
    return PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def is_link(credential: str) -> bool:
    """Return whether a credential is meant to be the token of a link."""
    return credential.startswith(PREFIX)


def digest_of(token: str) -> bytes | None:
    """Return the SHA-256 of a token; None where no token can be so."""
    if len(token) > _LONGEST or not token.isascii():
        return None
    return sha256(token.encode()).digest()


def fragment_of(token: str) -> str:
    """Return the fragment that is put behind the page's address."""
    return f"#share={token}"
