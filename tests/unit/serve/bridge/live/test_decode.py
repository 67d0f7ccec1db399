"""What the live path makes of a record: the same as the kept path, whatever form the frame has."""

import pytest
from google.protobuf import json_format

from serve.bridge.live.decode import read
from tests.unit.frames import frame


@pytest.mark.parametrize("before", ["", " ", "\n", "\r\n\t", "\ufeff"])
def test_json_may_begin_with_white_space(before: str) -> None:
    """A line feed begins a protobuf message as well; the viewer gets the frame all the same."""
    as_json = (before + json_format.MessageToJson(frame())).encode()

    seen = read(as_json, "spa")

    assert seen.frames == 1
    assert seen.envelope.binary == read(frame().SerializeToString(), "spa").envelope.binary
