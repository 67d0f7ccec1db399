"""Whether a frame holds what a page or datagram said."""

from analytics.model.limits import is_plausible
from ingest.codec.blanking import blanked_fields
from ingest.telemetry_pb2 import TelemetryFrame


def holds(frame: TelemetryFrame, field: str, value: float) -> bool:
    """A field has the value as it was sent; one that is marked as unknown was sent as what cannot
    be.
    """
    if field in blanked_fields(frame):
        return not is_plausible(field, value)
    return bool(getattr(frame, field) == value)
