"""The published wire: what every collector, bridge and viewer in the world relies on."""

from importlib.resources import files

import pytest
from google.protobuf.descriptor import FieldDescriptor

from ingest import telemetry_pb2
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from tests.paths import ROOT

_LENGTH_DELIMITED = {
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_MESSAGE,
}

PUBLISHED = {
    1: ("timestamp", FieldDescriptor.TYPE_INT64),
    2: ("lapTime", FieldDescriptor.TYPE_INT32),
    3: ("throttle", FieldDescriptor.TYPE_FLOAT),
    4: ("brake", FieldDescriptor.TYPE_FLOAT),
    5: ("steering", FieldDescriptor.TYPE_FLOAT),
    6: ("speed", FieldDescriptor.TYPE_FLOAT),
    7: ("gear", FieldDescriptor.TYPE_INT32),
    8: ("rpm", FieldDescriptor.TYPE_INT32),
    9: ("normalizedPosition", FieldDescriptor.TYPE_FLOAT),
    10: ("lapNumber", FieldDescriptor.TYPE_INT32),
}


@pytest.mark.parametrize("name", ["telemetry_pb2.py", "telemetry_pb2.pyi"])
def test_generated_code_is_that_of_the_proto_file(name, tmp_path):
    """Nobody edits or reformats it, and nobody forgets to generate it again."""
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    proto = ROOT / "proto" / "telemetry.proto"
    arguments = [
        f"--proto_path={proto.parent}",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
        str(proto),
    ]
    assert protoc.main(["protoc", *arguments]) == 0
    assert (ROOT / "ingest" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_wheel_gets_the_proto_file_itself():
    """A package cannot hold a file from outside its folder: ``make proto`` copies it."""
    packaged = files("ingest").joinpath("telemetry.proto").read_bytes()
    assert packaged == (ROOT / "proto" / "telemetry.proto").read_bytes()


def test_published_fields_of_a_frame_keep_number_name_and_type():
    fields = {
        f.number: (f.json_name, f.type) for f in TelemetryFrame.DESCRIPTOR.fields if f.number <= 10
    }
    assert fields == PUBLISHED


def test_published_field_of_a_message():
    telemetry = TelemetryMessage.DESCRIPTOR.fields_by_number[1]
    assert telemetry.name == "telemetry"
    assert telemetry.message_type is TelemetryFrame.DESCRIPTOR


def test_package_is_published_too():
    assert telemetry_pb2.DESCRIPTOR.package == "purplesector"


def test_first_byte_reports_a_frame_from_a_message():
    """A frame never begins with a length-delimited field, a message always does."""
    assert not {
        f.name
        for f in TelemetryFrame.DESCRIPTOR.fields
        if f.type in _LENGTH_DELIMITED or f.is_repeated
    }
    assert all(f.type in _LENGTH_DELIMITED for f in TelemetryMessage.DESCRIPTOR.fields)


def test_a_frame_may_leave_everything_out():
    """Zero means unknown: no field has presence, so that no reader can ask for it."""
    assert not [f.name for f in TelemetryFrame.DESCRIPTOR.fields if f.has_presence]
