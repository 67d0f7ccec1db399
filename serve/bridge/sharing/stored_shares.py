"""Follows the shares in the store, so that all replicas agree within seconds.

A request and a socket look in memory only. The rule: where the store does not answer for longer
than `STALE_AFTER_S`, nothing is shared (fail closed).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from ingest.errors import PurpleSectorError
from ingest.store.shares import stamp_of_shares, valid_shares
from serve.bridge.access.callers import Caller, NotAuthenticated, Refusal, Shared
from serve.bridge.rest.store_reader import StoreReader
from serve.bridge.sharing.links import is_link
from serve.bridge.sharing.valid_shares import ValidShares

log = structlog.get_logger()

_EVERY_S = 1.0
#: A store that is restarted answers within this time. Nobody can revoke a share in it meanwhile.
STALE_AFTER_S = 10.0


class StoredShares:
    """The valid shares of the store, as they were seconds ago."""

    def __init__(self, store: StoreReader, *, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._wall = wall
        self._shares = ValidShares()
        self._stamp: tuple[int, ...] | None = None
        self._seen_at_s = float("-inf")

    def is_link(self, credential: str) -> bool:
        """Return whether a credential is meant to be the token of a link."""
        return is_link(credential)

    def guest(self, token: str, now_s: float) -> Caller:
        """Return who comes by the link with this token. Raises NotAuthenticated."""
        if self._is_stale(now_s):
            raise NotAuthenticated(Refusal.LINKS_UNAVAILABLE)
        return self._shares.guest(token, now_s)

    def is_valid(self, share_id: int, now_s: float) -> bool:
        """Return whether a share is neither revoked nor expired."""
        return not self._is_stale(now_s) and self._shares.is_valid(share_id, now_s)

    def shared_with(self, user: str, now_s: float) -> frozenset[Shared]:
        """Return what is shared with the user of this name."""
        return frozenset() if self._is_stale(now_s) else self._shares.shared_with(user, now_s)

    def refresh(self) -> None:
        """Read what has changed in the store, at once. Raises PurpleSectorError."""
        now_s = self._wall()
        self._store.query(lambda conn: self._read(conn, now_s))

    async def follow(self) -> None:
        """Read what has changed every second, until cancelled."""
        failed = False
        while True:
            try:
                await asyncio.to_thread(self.refresh)
                failed = False
            except (PurpleSectorError, psycopg.Error) as failure:
                if not failed:
                    log.warning("shares_unavailable", problem=str(failure))
                failed = True
            await asyncio.sleep(_EVERY_S)

    def _read(self, conn: psycopg.Connection[Any], now_s: float) -> None:
        stamp = stamp_of_shares(conn)
        if stamp != self._stamp:
            self._shares = ValidShares(valid_shares(conn))
            self._stamp = stamp
        self._seen_at_s = max(now_s, self._seen_at_s)

    def _is_stale(self, now_s: float) -> bool:
        return now_s - self._seen_at_s > STALE_AFTER_S
