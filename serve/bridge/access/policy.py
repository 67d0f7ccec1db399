"""Decides what a caller may read and do. REST, sockets, statistics and exports use these functions
only.

Pure. An owner is the user of a session; an empty owner is unknown, and matches no caller's name.
``shared`` are the owners who share their sessions with the caller.
The rule: a session that a caller may not read does not exist for it. Both get the same answer.

| | own | shared | others' |
| --- | --- | --- | --- |
| viewer | read | read | |
| driver | read, command, delete | read | |
| engineer | read, command, delete | read | read |
| operator | read, command, delete | read, command, delete | read, command, delete |
"""

from collections.abc import Collection

from serve.bridge.access.callers import Caller, Role

_READ_ALL = frozenset({Role.ENGINEER, Role.OPERATOR})
_CHANGE_OWN = frozenset({Role.DRIVER, Role.ENGINEER})


def may_read(caller: Caller, owner: str, shared: Collection[str] = ()) -> bool:
    """Return whether the caller may read the sessions of this owner, stored or live."""
    return caller.role in _READ_ALL or _owns(caller, owner) or bool(owner and owner in shared)


def readable_owners(caller: Caller, shared: Collection[str] = ()) -> list[str] | None:
    """Return the owners whose sessions the caller may read, for a query. None: all of them."""
    if caller.role in _READ_ALL:
        return None
    return sorted({name for name in (caller.name, *shared) if name})


def may_see_statistics(caller: Caller) -> bool:
    """Return whether the caller may see numbers that name everybody's sessions."""
    return caller.role in _READ_ALL


def may_command(caller: Caller, owner: str) -> bool:
    """Return whether the caller may send commands to the collectors of this owner."""
    return _may_change(caller, owner)


def may_delete(caller: Caller, owner: str) -> bool:
    """Return whether the caller may rename, hide or delete the sessions of this owner."""
    return _may_change(caller, owner)


def _may_change(caller: Caller, owner: str) -> bool:
    return caller.role is Role.OPERATOR or (caller.role in _CHANGE_OWN and _owns(caller, owner))


def _owns(caller: Caller, owner: str) -> bool:
    return bool(owner) and caller.name == owner
