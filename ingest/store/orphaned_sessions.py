"""Gives sessions whose partition has no worker any more to a partition that has one.

Frames that wait for a locked chunk, and laps that must be timed again, are found by the topic and
partition of their session. When a topic is renamed, deleted or made with fewer partitions, no
worker reads them there.
"""

from typing import Any

import psycopg

# An owner's heartbeat is at most some seconds old (`ingest.workers.partition_worker`). One that is
# only frozen, or cut off, remembers these sessions without the frames that are moved now. The
# fencing token makes it read them again, as a takeover does.
_ADOPT = """
WITH orphans AS (
    SELECT s.id, s.topic, s.partition
      FROM sessions s
     WHERE s.id IN (SELECT id FROM sessions WHERE late_from IS NOT NULL
                    UNION SELECT session_id FROM telemetry_pending)
       AND (s.topic, s.partition) <> (%(topic)s, %(index)s)
       AND NOT EXISTS (
             SELECT FROM partition_offsets p
              WHERE p.topic = s.topic AND p.partition = s.partition
                AND p.heartbeat > clock_timestamp() - interval '1 minute')
       FOR UPDATE SKIP LOCKED),
fenced AS (
    UPDATE partition_offsets p SET fence = p.fence + 1
     WHERE (p.topic, p.partition) IN (SELECT topic, partition FROM orphans))
UPDATE sessions s SET topic = %(topic)s, partition = %(index)s
  FROM orphans o WHERE s.id = o.id
RETURNING s.key
"""


def adopt_orphans(conn: psycopg.Connection[Any], place: dict[str, Any]) -> list[str]:
    """Move unfinished sessions of partitions without a worker to the one at ``place``.

    Unfinished are sessions with frames that wait, or with laps to be timed again. Returns their
    keys.
    """
    return [key for (key,) in conn.execute(_ADOPT, place)]
