"""Detects the encoding of a settings file before its names and values are read."""

import codecs
from pathlib import Path

from ingest.errors import SettingsFileError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def encoding_of(path: Path) -> str:
    """Return the encoding of a ``.env`` file: UTF-8, or the one of the byte order mark at its
    start.

    PowerShell's ``>`` writes such a mark. A missing file and a pipe count as UTF-8, because they
    are not read here. Raises SettingsFileError.
    """
    if not path.is_file():
        return "utf-8"
    try:
        raw = path.read_bytes()
    except OSError as refused:
        raise SettingsFileError(path, f"cannot be read: {refused.strerror}") from None
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as wrong:
        line = raw[: wrong.start].count(b"\n") + 1
        problem = (
            f"is not {wrong.encoding.upper()}: line {line} has the byte 0x{raw[wrong.start]:02x}"
        )
        raise SettingsFileError(
            path, f"{problem}, as Windows-1252 (ANSI) has it; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise SettingsFileError(
            path, "has zero bytes, as UTF-16 without a byte order mark; save it as UTF-8"
        )
    return encoding
