"""Ways in which bytes go wrong on their way from a game."""

import struct
from random import Random

_NUMBERS = [
    *(
        struct.pack("<f", value)
        for value in (float("nan"), float("inf"), -float("inf"), 3e38, -1e7, 1e-40)
    ),
    *(struct.pack("<i", value) for value in (0, -1, 1, 2**31 - 1, -(2**31), 1_000_000)),
]
_LONGEST = 4096


def spoil(draw: Random, data: bytes) -> bytes:
    """The data, now and then as it was, mostly not."""
    match draw.randrange(9):
        case 0:
            return data
        case 1:
            return data[: draw.randrange(len(data) + 1)]
        case 2:
            return data + draw.randbytes(draw.randrange(1, _LONGEST))
        case 3:
            return draw.randbytes(draw.randrange(_LONGEST))
        case 4:
            return data[:1] + draw.randbytes(draw.randrange(200))
        case 5:
            return bytes(len(data))
        case _:
            return same_size(draw, data)


def same_size(draw: Random, data: bytes) -> bytes:
    """As long as it was, with some of it changed: bits, bytes, numbers that are none, strings that
    never end.
    """
    changed = bytearray(data)
    for _ in range(draw.choice((0, 1, 1, 2, 5, 50)) if data else 0):
        at = draw.randrange(len(changed))
        match draw.randrange(4):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at] = draw.choice((0, 0xFF, draw.randrange(256)))
            case 2:
                at -= at % 4
                changed[at : at + 4] = draw.choice(_NUMBERS)
            case 3:
                length = draw.randrange(1, 200)
                changed[at : at + length] = draw.choice((b"%", b"x", b"\xd8", b"\xff")) * length
    return bytes(changed[: len(data)])
