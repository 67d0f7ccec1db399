"""Judges single frames: an implausible value becomes unknown, and its frame is kept.

Pure, and without Arrow or NumPy: for collectors on a game PC and for the live path.
`ingest.codec.validation` judges columns by the same limits, those of `analytics.model.limits`.
"""

from collections.abc import Iterable, Mapping

from analytics.model.limits import LIMITS
from ingest.telemetry_pb2 import TelemetryFrame

#: JSON viewers hold a number exactly only below this.
SEQUENCE_END = 2**53

_BITS = {name: 1 << TelemetryFrame.DESCRIPTOR.fields_by_name[name].number for name in LIMITS}
_CHECKS = [(name, limits.least, limits.most) for name, limits in LIMITS.items()]


def blank_implausible(frame: TelemetryFrame) -> tuple[str, ...]:
    """Clear the values that no car can have sent, and return the names of their fields.

    Marks the cleared fields in ``frame.blanked``.
    """
    # A NaN lies within no limits.
    names = tuple(
        name for name, least, most in _CHECKS if not least <= getattr(frame, name) <= most
    )
    blank_fields(frame, names)
    return names


def plausible_frame(values: Mapping[str, float]) -> TelemetryFrame:
    """Return a frame with these values by field; implausible values are marked as unknown.

    Unlike the constructor of a frame, it takes any number, such as an int beyond 32 bits.
    """
    bad = [name for name, value in values.items() if name in _BITS and not _is_within(name, value)]
    frame = TelemetryFrame(**{name: value for name, value in values.items() if name not in bad})  # type: ignore[arg-type]
    frame.blanked = sum(_BITS[name] for name in bad)
    return frame


def blanked_fields(frame: TelemetryFrame) -> tuple[str, ...]:
    """Return the names of the fields that are marked as unknown."""
    return (
        tuple(name for name, bit in _BITS.items() if frame.blanked & bit) if frame.blanked else ()
    )


def blank_fields(frame: TelemetryFrame, names: Iterable[str]) -> None:
    """Mark these fields as unknown."""
    for name in names:
        frame.ClearField(name)
        frame.blanked |= _BITS[name]


def record_fault(frame: TelemetryFrame) -> str | None:
    """Return why the frame is invalid regardless of its values, or None.

    Applies the rules of ingest for a record, apart from those of clocks.
    """
    if not 0 <= frame.sequence < SEQUENCE_END:
        return f"value: sequence={frame.sequence} is outside 1..2^53"
    if not frame.sequence and not frame.lap_number and _has_no_value(frame):
        return "empty: nothing but a timestamp"
    return None


def _has_no_value(frame: TelemetryFrame) -> bool:
    # For a number without presence, protobuf lists only values other than 0. It lists -0.0 too,
    # which equals 0.
    return all(
        field.name == "timestamp" or (value == 0 and not field.has_presence)
        for field, value in frame.ListFields()
    )


def _is_within(name: str, value: float) -> bool:
    return LIMITS[name].least <= value <= LIMITS[name].most
