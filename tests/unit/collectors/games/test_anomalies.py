from structlog.testing import capture_logs

from ingest.collectors.games.anomalies import AnomalyCounts


def test_a_kind_is_reported_once_and_counted_always():
    complaints = AnomalyCounts("acc")

    with capture_logs() as said:
        complaints.add("truncated", "7 bytes")
        complaints.add("truncated", "8 bytes")
        complaints.add("speed not finite")

    assert [(line["kind"], line["detail"]) for line in said] == [
        ("truncated", "7 bytes"),
        ("speed not finite", ""),
    ]
    assert complaints.counts == {"truncated": 2, "speed not finite": 1}
