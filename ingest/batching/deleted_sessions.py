"""Drops the records of sessions that were deleted.

Pure. Such a record is neither stored nor a dead letter, and its partition moves on. The store keeps
which sessions were deleted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ingest.batching.write_batch import OpenSession
from ingest.codec.decode import Decoded, without

_Keys = Sequence[bytes | None]


def unsure_keys(decoded: Decoded, keys: _Keys, sessions: Mapping[str, OpenSession]) -> set[bytes]:
    """Return the keys whose sessions may have been deleted: of sessions that are not open, and of
    rejected records.

    A session that is open was not deleted when it was opened. If it was since, its next batch is
    refused, and it is opened again.
    """
    new = {key.encode() for key in decoded.sessions if key not in sessions}
    return new | {key for one in decoded.rejected if (key := keys[one.record]) is not None}


def without_deleted(decoded: Decoded, keys: _Keys, deleted: Collection[bytes]) -> Decoded:
    """Return the decoded records without those of sessions with these keys, rejected ones
    included.

    ``keys`` are those of all decoded records.
    """
    if not deleted:
        return decoded
    places = {record for record, key in enumerate(keys) if key in deleted}
    kept = without(decoded, dict.fromkeys(places, ""))
    return replace(kept, rejected=[one for one in kept.rejected if one.record not in places])
