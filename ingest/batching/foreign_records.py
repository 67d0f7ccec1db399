"""Rejects the records that a user wrote to a session of another user.

Pure. Such a record becomes a dead letter before its session is opened, so it changes no session.
"""

from collections.abc import Mapping, Sequence

from ingest.batching.write_batch import OpenSession
from ingest.codec.decode import Decoded, without
from ingest.codec.session_owner import TAKEN, owner_fault

_Keys = Sequence[bytes | None]


def reject_false_claims(
    decoded: Decoded,
    keys: _Keys,
    owner: str | None,
    headers: Mapping[str, str],
) -> Decoded:
    """Reject the records that name another user than ``owner``, the user of their topic.

    ``keys`` are those of all decoded records. ``headers`` holds the users that the headers of
    sessions name. An ``owner`` of None rejects nothing.
    """
    if owner is None:
        return decoded
    claims = ((f.record, owner_fault(owner, "", facts=f.message.user_id)) for f in decoded.facts)
    records = {record: fault for record, fault in claims if fault}
    keyed = {key: owner_fault(owner, key, header=headers.get(key, "")) for key in decoded.sessions}
    return _without(decoded, keys, records, {key: fault for key, fault in keyed.items() if fault})


def reject_taken(
    decoded: Decoded,
    keys: _Keys,
    owner: str | None,
    sessions: Mapping[str, OpenSession],
) -> Decoded:
    """Reject the records of stored ``sessions`` that do not belong to ``owner``.

    A session without a user belongs to nobody: its records came before topics proved their user.
    """
    if owner is None:
        return decoded
    taken = {key: TAKEN for key in decoded.sessions if sessions[key].user_id != owner}
    return _without(decoded, keys, {}, taken)


def _without(
    decoded: Decoded,
    keys: _Keys,
    records: Mapping[int, str],
    sessions: Mapping[str, str],
) -> Decoded:
    if not records and not sessions:
        return decoded
    of_key = {key.encode(): fault for key, fault in sessions.items()}
    faults = {i: of_key[key] for i, key in enumerate(keys) if key in of_key} | dict(records)
    for one in decoded.rejected:
        faults.pop(one.record, None)  # a record has one reason
    return without(decoded, faults)
