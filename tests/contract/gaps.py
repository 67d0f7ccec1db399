"""What the broker in memory cannot do, as marks above the facts that it breaks."""

import pytest

BROKERS = ["apache_kafka", "mesh"]


def gap_of_mesh(
    reason: str, *, broker: str = "broker", raises: type[BaseException] = AssertionError
) -> pytest.MarkDecorator:
    """The fact holds on Apache Kafka, and fails by ``raises`` on the in-memory one of the fixture
    ``broker``.
    """
    mark = pytest.mark.xfail(reason=f"the in-memory broker {reason}", raises=raises, strict=True)
    return pytest.mark.parametrize(
        broker, [BROKERS[0], pytest.param(BROKERS[1], marks=mark)], indirect=True
    )
