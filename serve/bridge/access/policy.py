"""Decides what a caller may read and do. REST, sockets, statistics and exports use these functions
only.

Pure. An owner is the user of a session; an empty owner is unknown, and matches no caller's name.
The rule: a session or lap that a caller may not read does not exist for it. Both get the same
answer.

| | own | shared session | shared lap | others' |
| --- | --- | --- | --- | --- |
| guest, by a link | | read | read | |
| viewer | read | read | read | |
| driver | read, command, delete, share | read | read | |
| engineer | read, command, delete, share | read, share | read, share | read, share |
| operator | everything | everything | everything | everything |

To read a shared lap is to read its times and its frames: neither another lap, nor what is live.
"""

from dataclasses import dataclass

from serve.bridge.access.callers import Caller, Role

_READ_ALL = frozenset({Role.ENGINEER, Role.OPERATOR})
_CHANGE_OWN = frozenset({Role.DRIVER, Role.ENGINEER})


@dataclass(frozen=True, slots=True)
class Reach:
    """The part of a session that a caller may read: all of it, these laps, or nothing."""

    whole: bool = False
    laps: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return self.whole or bool(self.laps)

    def has_lap(self, lap_number: int) -> bool:
        """Return whether this lap is part of it."""
        return self.whole or lap_number in self.laps


def reach(caller: Caller, owner: str, session: str) -> Reach:
    """Return what the caller may read of this owner's session."""
    if caller.role in _READ_ALL or _owns(caller, owner):
        return Reach(whole=True)
    shared = [s for s in caller.shared if (s.session, s.owner) == (session, owner)]
    if any(one.lap_number is None for one in shared):
        return Reach(whole=True)
    return Reach(laps=frozenset(s.lap_number for s in shared if s.lap_number is not None))


def may_watch(caller: Caller, owner: str, session: str) -> bool:
    """Return whether the caller may receive the live frames of this owner's session."""
    return reach(caller, owner, session).whole


def readable_owners(caller: Caller) -> list[str] | None:
    """Return the owners whose sessions the caller may read, for a query. None: all of them."""
    if caller.role in _READ_ALL:
        return None
    return [caller.name] if caller.name and caller.role is not Role.GUEST else []


def shared_keys(caller: Caller) -> list[str]:
    """Return the keys of the sessions of which something is shared with the caller."""
    return sorted({one.session for one in caller.shared})


def may_see_statistics(caller: Caller) -> bool:
    """Return whether the caller may see numbers that name everybody's sessions."""
    return caller.role in _READ_ALL


def may_play_demo(caller: Caller) -> bool:
    """Return whether the caller may have a demo played: a guest sees what its link shows."""
    return caller.role is not Role.GUEST


def may_share(caller: Caller, owner: str) -> bool:
    """Return whether the caller may share the sessions of this owner, and revoke such shares."""
    return caller.role in _READ_ALL or _may_change(caller, owner)


def may_see_hidden(caller: Caller, owner: str) -> bool:
    """Return whether hidden sessions of this owner exist for the caller."""
    return caller.role is Role.OPERATOR or _owns(caller, owner)


def hidden_owners(caller: Caller) -> list[str] | None:
    """Return the owners whose hidden sessions exist for the caller, for a query. None: all."""
    if caller.role is Role.OPERATOR:
        return None
    return [caller.name] if may_see_hidden(caller, caller.name) else []


def may_command(caller: Caller, owner: str) -> bool:
    """Return whether the caller may send commands to the collectors of this owner."""
    return _may_change(caller, owner)


def may_delete(caller: Caller, owner: str) -> bool:
    """Return whether the caller may rename, hide or delete the sessions of this owner."""
    return _may_change(caller, owner)


def _may_change(caller: Caller, owner: str) -> bool:
    return caller.role is Role.OPERATOR or (caller.role in _CHANGE_OWN and _owns(caller, owner))


def _owns(caller: Caller, owner: str) -> bool:
    return bool(owner) and caller.name == owner and caller.role is not Role.GUEST
