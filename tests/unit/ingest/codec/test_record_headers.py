"""Headers are read once a message: what the client cannot decode is no headers, and costs no
record.
"""

import pytest

from ingest.codec.record_headers import read_headers


class Undecodable:
    """A message whose headers the client cannot decode: reading them twice would end the
    process.
    """

    def __init__(self, error: Exception) -> None:
        self.reads, self._error = 0, error

    def headers(self) -> None:
        self.reads += 1
        raise self._error


class Decodable:
    def headers(self) -> list[tuple[str, str | bytes | None]]:
        return [("userId", "anna"), ("traceparent", b"\x00\x01"), ("empty", None)]


@pytest.mark.parametrize(
    "error", [SystemError("no header"), UnicodeDecodeError("utf-8", b"", 0, 1, "no header")]
)
def test_headers_that_cannot_be_decoded_are_read_once(error):
    message = Undecodable(error)

    assert read_headers(message) is None
    assert message.reads == 1


def test_headers_are_bytes_in_their_order():
    assert read_headers(Decodable()) == [
        ("userId", b"anna"),
        ("traceparent", b"\x00\x01"),
        ("empty", None),
    ]
