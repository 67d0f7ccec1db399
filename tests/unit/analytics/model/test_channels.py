"""One list of channels, from which the rest derives."""

import pyarrow as pa

from analytics.model.channels import CHANNELS, FRAMES, column_definitions
from ingest.telemetry_pb2 import TelemetryFrame


def test_every_field_of_the_wire_is_a_channel_or_places_a_frame():
    fields = {field.name for field in TelemetryFrame.DESCRIPTOR.fields}

    assert fields == {c.wire for c in CHANNELS} | {"timestamp", "sequence", "blanked"}


def test_wide_columns_come_before_narrow_ones():
    """PostgreSQL pads a column to its alignment: the order of the list is a part of the row's
    size.
    """
    widths = [c.arrow.bit_width for c in CHANNELS]

    assert widths == sorted(widths, reverse=True)


def test_arrow_and_sql_agree():
    sql_of = {"integer": pa.int32(), "smallint": pa.int16(), "real": pa.float32()}

    assert all(sql_of[c.sql] == c.arrow for c in CHANNELS)
    assert [d.split()[0] for d in column_definitions()] == FRAMES.names
