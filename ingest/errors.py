"""Defines the errors of the stored path.

Facts are attributes; the sentence is ``str()``.
"""

from collections.abc import Sequence
from pathlib import Path


class PurpleSectorError(Exception):
    """A failure that a person can act on.

    The sentence states the fault, its place, and the remedy.
    """


class SettingsError(PurpleSectorError):
    """A setting has a value that is not accepted. The command exits with 2."""

    def __init__(self, variable: str, value: object, accepted: str) -> None:
        super().__init__(f"{variable}={value!s}: {accepted}")
        self.variable = variable
        self.value = value
        self.accepted = accepted


class SettingsFileError(PurpleSectorError):
    """A file of settings cannot be read as text. The command exits with 2."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path = path


class BrokerUnavailable(PurpleSectorError):
    """No broker answers at ``brokers``."""

    def __init__(self, brokers: str, reason: str) -> None:
        super().__init__(
            f"no Kafka broker answers at {brokers}: {reason}; start one, or set KAFKA_BROKERS"
        )
        self.brokers = brokers
        self.reason = reason


class TopicUnavailable(PurpleSectorError):
    """A broker answers, but it can neither find nor create the topic."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"topic {topic} cannot be written to: {reason}")
        self.topic = topic
        self.reason = reason


class AccessRefused(PurpleSectorError):
    """The broker refused to change users, access rules or topics."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"the broker does not let us {step}: {reason}")
        self.step = step
        self.reason = reason


class SpoolUnavailable(PurpleSectorError):
    """Frames cannot be kept on this disk."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            f"frames cannot be kept in {folder}: {reason}; make room there, or set SPOOL_DIR to a"
            " folder of yours"
        )
        self.folder = folder
        self.reason = reason


class ReplayError(PurpleSectorError):
    """A recording cannot be replayed.

    ``column`` is wrong at ``row``. Rows count from 0; None means the column as a whole.
    """

    def __init__(self, column: str, row: int | None, reason: str) -> None:
        super().__init__(
            f"recording, column {column}{'' if row is None else f', row {row}'}: {reason}"
        )
        self.column = column
        self.row = row
        self.reason = reason


class StoreUnavailable(PurpleSectorError):
    """The database does not answer, or it ended the connection."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"no database answers at {address}: {reason}; start one, or set DATABASE_URL"
        )
        self.address = address
        self.reason = reason


class StoreFull(StoreUnavailable):
    """The database answers, but its disk has no room for the data."""

    def __init__(self, address: str, reason: str) -> None:
        PurpleSectorError.__init__(
            self,
            f"the database at {address} has no room: {reason}; make room on its disk, and storing"
            " goes on by itself",
        )
        self.address = address
        self.reason = reason


class NotAllowed(PurpleSectorError):
    """The database answers, but this user may not read the requested data."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"the database at {address} refuses this user: {reason}; grant it, or name another user"
            " in DATABASE_URL"
        )
        self.address = address
        self.reason = reason


class NotUpgraded(PurpleSectorError):
    """The database answers, but it refused a step of the upgrade; none of the upgrade was done."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"the database at {address} was not upgraded, and nothing in it has changed: {reason}"
        )
        self.address = address
        self.reason = reason


class LicenceLost(PurpleSectorError):
    """The server runs TimescaleDB under the Apache licence and refuses every frame.

    The Community edition made this store. Its compressed frames cannot be read either.
    """

    def __init__(self, kept: Sequence[str]) -> None:
        super().__init__(
            f"TimescaleDB's licence is apache, and this store has {', '.join(kept)}, which only the"
            " Community edition can use: frames are refused until timescaledb.license ="
            " 'timescale' is in the server's configuration file again, and the server restarted"
        )
        self.kept = tuple(kept)


class SchemaOutdated(PurpleSectorError):
    """The database answers, but lacks a table, column or function that this version reads."""

    def __init__(self, address: str, lacking: str) -> None:
        super().__init__(
            f"the database at {address} lacks what this version reads: {lacking}; run purple-sector"
            " database upgrade"
        )
        self.address = address
        self.lacking = lacking


class UnknownShare(PurpleSectorError):
    """There is no share of this number, or not of this session."""

    def __init__(self, id: int) -> None:
        super().__init__(f"there is no share {id}; the list of shares has those that there are")
        self.id = id


class TooManyShares(PurpleSectorError):
    """A session has as many shares as it may have."""

    def __init__(self, key: str, most: int, most_ever: int) -> None:
        super().__init__(
            f"session {key!r} has {most} valid shares, or {most_ever:,} with those that ended: no"
            " more can be made; revoke some if they are valid"
        )
        self.key = key


class PartitionTaken(PurpleSectorError):
    """A takeover: another worker now owns the partition.

    This worker has written nothing and stops.
    """

    def __init__(self, partition: object, reason: str) -> None:
        super().__init__(f"{partition} was taken over by another worker: {reason}")
        self.partition = partition


class SessionsChanged(PurpleSectorError):
    """The sessions in a worker's memory differ from those in the store.

    The worker drops its memory of them and reads them again.
    """

    def __init__(self, partition: object, reason: str) -> None:
        super().__init__(f"{partition}: sessions changed in the store: {reason}")
        self.partition = partition


class SessionWentOn(PurpleSectorError):
    """Frames were stored after the laps had been timed."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"session {key!r} went on while its laps were timed again: nothing of it was written;"
            " try again"
        )


class StoreRefused(PurpleSectorError):
    """The database answered, but refused the data that it received.

    ``for_data`` is true where a value caused the refusal.
    """

    def __init__(self, partition: object, reason: str, *, for_data: bool = False) -> None:
        super().__init__(f"{partition}: the database refused a batch: {reason}")
        self.partition = partition
        self.reason = reason
        self.for_data = for_data


class StoreBusy(PurpleSectorError):
    """The database answers, but another client locks the rows; nothing was written."""

    def __init__(self, partition: object, reason: str) -> None:
        super().__init__(
            f"{partition}: the database answers, and what is to be written is locked: {reason};"
            " trying again"
        )
        self.partition = partition
        self.reason = reason


class OffsetsLost(PurpleSectorError):
    """The broker has no record at the offset where the store stands.

    Either retention was quicker, or the log is another one.
    """

    def __init__(self, partition: object) -> None:
        super().__init__(
            f"{partition}: the broker's log does not reach to the next offset any more"
        )
        self.partition = partition


class TopicReplaced(PurpleSectorError):
    """The topic was deleted and made again during reading: its offsets belong to another log."""

    def __init__(self, partition: object) -> None:
        super().__init__(f"{partition}: its topic was deleted and made anew")
        self.partition = partition
