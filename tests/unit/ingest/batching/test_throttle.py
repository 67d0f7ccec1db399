"""Things that may be done only once in a while."""

from ingest.batching.throttle import Throttle


def test_what_was_done_lately_waits_its_time():
    paced: Throttle[str] = Throttle(10.0)
    paced.want("spa", now=0.0)
    assert paced.due(now=0.0) == ["spa"]

    paced.want("spa", now=3.0)
    paced.want("monza", now=3.0)
    assert paced.due(now=3.0) == ["monza"]
    assert paced.due(now=10.0) == ["spa"]
    assert paced.due(now=99.0) == []
