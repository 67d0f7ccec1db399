"""Assigns partitions to workers.

Pure functions: the supervisor calls them and acts on the result.
"""

from collections.abc import Collection, Mapping, Sequence

from ingest.batching.partition_log import Partition


def worker_count(partitions: int, *, per_worker: int, cpus: int) -> int:
    """Return the number of workers to run: by ``per_worker``, or, if that is 0, one for each CPU of
    the cluster.
    """
    if partitions == 0:
        return 0
    if per_worker > 0:
        return -(-partitions // per_worker)
    return min(partitions, max(1, cpus))


class SurplusTimer:
    """Decides when a worker is one too many. Times are in seconds of a steady clock.

    Ray counts the CPUs of a dead node until its health check fails, and a node may come back. So a
    surplus counts only after it has lasted for ``grace_s``.
    """

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._since: float | None = None

    def expired(self, *, running: int, wanted: int, now: float) -> bool:
        """Return whether to stop one worker now. The next one follows after another ``grace_s``."""
        if running <= wanted:
            self._since = None
            return False
        self._since = now if self._since is None else self._since
        if now - self._since < self._grace_s:
            return False
        self._since = now
        return True


def spread(
    partitions: Collection[Partition], workers: Sequence[str], hosted: Mapping[Partition, str]
) -> dict[str, list[Partition]]:
    """Give each partition to one worker, evenly, and move none without need.

    ``hosted`` maps each partition to its current worker. No worker has over one partition more than
    another.
    """
    if not workers:
        return {}
    shares: dict[str, list[Partition]] = {worker: [] for worker in workers}
    ordered = sorted(partitions, key=lambda p: (p.topic, p.index))
    for partition in _keep_hosted(ordered, shares, hosted):
        min(shares.values(), key=len).append(partition)
    return _level(shares)


def _keep_hosted(
    ordered: Sequence[Partition],
    shares: Mapping[str, list[Partition]],
    hosted: Mapping[Partition, str],
) -> list[Partition]:
    """Give partitions to their current workers, up to an even share, and return the others."""
    most = -(-len(ordered) // len(shares))
    unassigned = []
    for partition in ordered:
        share = shares.get(hosted.get(partition, ""))
        if share is not None and len(share) < most:
            share.append(partition)
        else:
            unassigned.append(partition)
    return unassigned


def _level(shares: dict[str, list[Partition]]) -> dict[str, list[Partition]]:
    while True:
        fullest, emptiest = max(shares.values(), key=len), min(shares.values(), key=len)
        if len(fullest) - len(emptiest) <= 1:
            return shares
        emptiest.append(fullest.pop())
