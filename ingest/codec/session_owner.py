"""Decides which user may write to a session, from the names in a record and its topic.

Pure: functions of strings, without Arrow, so that the bridge uses them too. On a topic of one user,
Kafka's access rules have proved who wrote a record. So the topic names the user, and everything
else in the record is a claim. A session belongs to its first user, for ever.

A collector's key names its user: ``alice-20260314T150926Z-1f0c5a7e93b0d264``. Nobody else can
claim such a session, even before its first record has arrived. Another key belongs to the first
user who writes it.
"""

import re

#: The owner of records on a shared topic where each user has a topic: no user is proved.
NOBODY = ""

#: Reasons of dead letters; the code before the colon is stable.
UNPROVED = "owner: a shared topic proves no user"
FOREIGN_KEY = "owner: the key names another user than the topic"
FOREIGN_HEADER = "owner: the header names another user than the topic"
FOREIGN_FACTS = "owner: the facts name another user than the topic"
TAKEN = "owner: the session belongs to another user"

_COLLECTORS_KEY = re.compile(r"(.+)-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}", re.DOTALL)


def user_in_key(key: str) -> str:
    """Return the user that a collector's key names; empty for a key of another form."""
    found = _COLLECTORS_KEY.fullmatch(key)
    return found[1] if found else ""


def owner_fault(owner: str | None, key: str, *, header: str = "", facts: str = "") -> str | None:
    """Return why a record of ``owner``'s topic must not be stored or shown; None where it may be.

    ``header`` and ``facts`` are the users that they name; empty is unknown. An ``owner`` of None
    means that headers name the user, as on a shared topic without topics per user.
    """
    if owner is None:
        return None
    if owner == NOBODY:
        return UNPROVED
    claims = ((user_in_key(key), FOREIGN_KEY), (header, FOREIGN_HEADER), (facts, FOREIGN_FACTS))
    return next((reason for user, reason in claims if user not in ("", owner)), None)
