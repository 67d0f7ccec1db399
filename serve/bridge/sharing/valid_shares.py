"""Indexes valid shares: what a link opens, and what is shared with a user.

Reaches no store, and the time is an argument, in seconds since 1970.
"""

from collections.abc import Iterable

from ingest.store.shares import Share
from serve.bridge.access.callers import Caller, NotAuthenticated, Refusal, Role, Shared
from serve.bridge.sharing.links import digest_of


class ValidShares:
    """Shares that were valid when they were read. Never changed: newer ones take its place."""

    def __init__(self, shares: Iterable[Share] = ()) -> None:
        self._by_id: dict[int, Share] = {}
        self._by_digest: dict[bytes, Share] = {}
        self._by_user: dict[str, list[Share]] = {}
        for share in shares:
            self._add(share)

    def _add(self, share: Share) -> None:
        self._by_id[share.id] = share
        if share.token_sha256 is not None:
            self._by_digest[share.token_sha256] = share
        for user in share.users:
            self._by_user.setdefault(user, []).append(share)

    def guest(self, token: str, now_s: float) -> Caller:
        """Return who comes by the link with this token. Raises NotAuthenticated.

        A token that is unknown, revoked or expired gets the same refusal. The time of a look-up
        depends on the digest alone, and no token follows from a digest.
        """
        digest = digest_of(token)
        share = self._by_digest.get(digest) if digest else None
        if share is None or _expired(share, now_s):
            raise NotAuthenticated(Refusal.UNKNOWN_LINK)
        return Caller(
            f"link-{share.id}",
            Role.GUEST,
            share.expires_at.timestamp() if share.expires_at else None,
            shared=frozenset({_shared(share)}),
            share_id=share.id,
        )

    def is_valid(self, share_id: int, now_s: float) -> bool:
        """Return whether a share is neither revoked nor expired."""
        share = self._by_id.get(share_id)
        return share is not None and not _expired(share, now_s)

    def shared_with(self, user: str, now_s: float) -> frozenset[Shared]:
        """Return what is shared with the user of this name."""
        shares = self._by_user.get(user, ())
        return frozenset(_shared(share) for share in shares if not _expired(share, now_s))


def _expired(share: Share, now_s: float) -> bool:
    return share.expires_at is not None and now_s >= share.expires_at.timestamp()


def _shared(share: Share) -> Shared:
    return Shared(share.session_key, share.owner, share.lap_number)
