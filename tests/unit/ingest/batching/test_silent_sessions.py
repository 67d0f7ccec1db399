"""When a session counts as silent."""

from ingest.batching.silent_sessions import SILENT_S, SilentSessions


def test_a_session_is_silent_once() -> None:
    silence = SilentSessions()
    silence.note("a", now=10.0)

    assert silence.next_silent(now=10.0 + SILENT_S - 0.1) is None
    assert silence.next_silent(now=10.0 + SILENT_S) == "a"
    assert silence.next_silent(now=99.0) is None


def test_who_sends_on_is_not_silent() -> None:
    silence = SilentSessions()
    for key, now in (("a", 10.0), ("b", 11.0), ("a", 12.0)):
        silence.note(key, now=now)

    assert silence.next_silent(now=11.0 + SILENT_S) == "b"
    assert silence.next_silent(now=11.0 + SILENT_S) is None
    assert silence.next_silent(now=12.0 + SILENT_S) == "a"
