"""Structures as C compilers lay them out: fields in order, numbers aligned to four bytes and UTF-16
text to two.

A layout only writes, and only what it is given: what else a page holds stays, as in a game that
reuses its memory.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FIELD = re.compile(r"(\w+):([ifbw])(\d*)")
_BYTES = {"i": 4, "f": 4, "b": 1, "w": 2}


@dataclass(frozen=True, slots=True)
class Field:
    """``kind`` is i (int32), f (float32), b (byte) or w (a UTF-16 unit)."""

    name: str
    kind: str
    count: int
    offset: int

    @property
    def size(self) -> int:
        return self.count * _BYTES[self.kind]


class Layout:
    """Of one structure, from ``name:kind[count]`` separated by blanks. ``end`` is what its texts
    end with.
    """

    def __init__(self, fields: str, *, end: str = "\0") -> None:
        self.fields: dict[str, Field] = {}
        self.size = 0
        self._end = end
        for token in fields.split():
            self._add(token)
        self.size += -self.size % 4
        self._numbers = {
            f.name: (
                struct.Struct(f"<{f.count}{f.kind.upper() if f.kind == 'b' else f.kind}"),
                f.offset,
            )
            for f in self.fields.values()
            if f.kind != "w"
        }

    def _add(self, token: str) -> None:
        parts = _FIELD.fullmatch(token)
        if parts is None:
            raise ValueError(f"{token!r} is not name:kind[count]")
        name, kind, count = parts.groups()
        offset = self.size + -self.size % _BYTES[kind]
        self.fields[name] = Field(name, kind, int(count or 1), offset)
        self.size = offset + self.fields[name].size

    def put(self, page: bytearray, values: Mapping[str, Any]) -> None:
        """Write these fields. A list shorter than its field leaves the rest of it; a text leaves
        what is after its end.
        """
        for name, value in values.items():
            number = self._numbers.get(name)
            if number is None:
                self._put_text(page, self.fields[name], value)
            elif isinstance(value, list | tuple):
                self._put_list(page, self.fields[name], value)
            else:
                number[0].pack_into(page, number[1], value)

    def _put_list(
        self, page: bytearray, field: Field, values: "list[Any] | tuple[Any, ...]"
    ) -> None:
        if len(values) > field.count:
            raise ValueError(f"{field.name} has {field.count} places, not {len(values)}")
        kind = "B" if field.kind == "b" else field.kind
        struct.pack_into(f"<{len(values)}{kind}", page, field.offset, *values)

    def _put_text(self, page: bytearray, field: Field, text: str) -> None:
        units = text.encode("utf-16-le")[: field.size - 2] + self._end.encode("utf-16-le")
        page[field.offset : field.offset + len(units)] = units

    def fill_texts(self, page: bytearray, stale: str) -> None:
        """Fill every text to its last unit, as if something longer had stood there before."""
        for field in self.fields.values():
            if field.kind == "w":
                page[field.offset : field.offset + field.size] = (stale * field.count)[
                    : field.count
                ].encode("utf-16-le")
