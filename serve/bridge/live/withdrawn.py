"""Informs the hub which live sessions were deleted or hidden; all replicas agree within seconds.

The live path does not wait for the store: while that does not answer, what was known is valid.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from ingest.errors import PurpleSectorError
from ingest.store.removal.deletions import deleted_keys
from serve.bridge.live.hub import Hub
from serve.bridge.rest.store_reader import StoreReader

log = structlog.get_logger()

_EVERY_S = 2.0
_HIDDEN = "SELECT key FROM sessions WHERE hidden AND key = ANY (%s)"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The keys of sessions that were deleted, and of those that are hidden."""

    deleted: frozenset[str]
    hidden: frozenset[str]


def withdrawn_among(conn: psycopg.Connection[Any], keys: Collection[str]) -> Withdrawn:
    """Return those of these sessions that were deleted or are hidden."""
    known = [key for key in keys if "\0" not in key]
    deleted = deleted_keys(conn, [key.encode() for key in known])
    hidden = (key for (key,) in conn.execute(_HIDDEN, [known]))
    return Withdrawn(frozenset(key.decode() for key in deleted), frozenset(hidden))


async def follow_withdrawn(hub: Hub, store: StoreReader) -> None:
    """Look every two seconds, until cancelled."""
    failed = False
    while True:
        await asyncio.sleep(_EVERY_S)
        try:
            await _look(hub, store)
            failed = False
        except PurpleSectorError as failure:
            if not failed:
                log.warning("withdrawn_sessions_unknown", problem=str(failure))
            failed = True


async def _look(hub: Hub, store: StoreReader) -> None:
    keys = list(hub.sessions)
    if keys:
        found = await asyncio.to_thread(store.query, lambda conn: withdrawn_among(conn, keys))
        hub.withdraw(found.deleted, found.hidden)
