"""A request's body is small and of a known length, or it is not read at all."""

import pytest
from starlette.datastructures import Headers

from serve.bridge.web_app import _is_small


@pytest.mark.parametrize(
    ("headers", "small"),
    [
        ({}, True),
        ({"content-length": "0"}, True),
        ({"content-length": "16384"}, True),
        ({"content-length": "16385"}, False),
        ({"content-length": "9" * 5_000}, False),
        ({"content-length": "-1"}, False),
        ({"content-length": "1e9"}, False),
        ({"content-length": "٣"}, False),  # a digit elsewhere
        ({"content-length": ""}, False),
        ({"transfer-encoding": "chunked"}, False),
        ({"transfer-encoding": "chunked", "content-length": "1"}, False),
    ],
)
def test_body_is_small_or_refused(headers: dict[str, str], small: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert _is_small(Headers(raw=raw)) is small
