"""Finds how far partitions are stored, and whether their sessions still need a worker."""

from collections.abc import Collection

import psycopg

from ingest.batching.partition_log import Partition
from ingest.settings import DatabaseSettings

# A worker that was replaced may not have stored the laps that its last sessions ended with.
_STORED = """
SELECT p.topic, p.partition, p.next_offset,
       NOT EXISTS (
         SELECT FROM sessions s
          WHERE s.topic = p.topic AND s.partition = p.partition
            AND (s.updated_at > now() - interval '15 minutes' OR s.late_from IS NOT NULL
                 OR EXISTS (SELECT FROM telemetry_pending t WHERE t.session_id = s.id)))
  FROM partition_offsets p
 WHERE p.topic = ANY (%s)
"""


def stored_partitions(
    settings: DatabaseSettings,
    topics: Collection[str],
) -> dict[Partition, int | None]:
    """Return the offset to read next of each partition of ``topics`` that was read before.

    It is None where a worker is needed: a session is unfinished, or was written to in the last
    quarter of an hour. Raises psycopg.Error.
    """
    with psycopg.connect(
        settings.url.get_secret_value(),
        autocommit=True,
        application_name="purple-sector idle partitions",
        connect_timeout=3,
        tcp_user_timeout=10_000,
    ) as conn:
        rows = conn.execute(_STORED, [list(topics)]).fetchall()
    return {Partition(topic, i): offset if quiet else None for topic, i, offset, quiet in rows}
