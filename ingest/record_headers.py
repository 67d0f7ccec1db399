"""Reads the headers of a Kafka record without the client's fault.

There are headers that confluent_kafka 2.16.0 cannot decode, and reading them a second time ended the process. Rule: headers are
read here, once a message.
"""

from typing import cast

from confluent_kafka import Message

Headers = list[tuple[str, bytes | None]]


def read_headers(message: Message) -> Headers | None:
    """The headers in order; None where their names cannot be read. Call it once a message."""
    try:
        found = cast(list[tuple[str, str | bytes | None]], message.headers() or [])
    except (SystemError, UnicodeDecodeError):  # the latter is the former's cause: a mended client would raise it
        return None
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in found]
