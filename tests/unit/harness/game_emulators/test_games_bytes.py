"""The played games write what the real ones wrote: values decoded from real dumps and datagrams
give their bytes again.
"""

import json
import struct
from random import Random

import pytest

from tests.game_emulators import ac_packets, acc_messages, pages
from tests.game_emulators.acc_messages import (
    CarUpdate,
    Driver,
    EntryListCar,
    Lap,
    TrackData,
    Update,
)
from tests.game_emulators.layout import Field, Layout
from tests.paths import SHARED

SHEET = SHARED / "sim"
LAYOUTS = {
    "ACC_SPageFilePhysics": pages.ACC_PHYSICS,
    "ACC_SPageFileGraphic": pages.ACC_GRAPHICS,
    "ACC_SPageFileStatic": pages.ACC_STATIC,
    "AC_SPageFilePhysics": pages.AC_PHYSICS,
    "AC_SPageFileGraphic": pages.AC_GRAPHICS,
    "AC_SPageFileStatic": pages.AC_STATIC,
    "ACUDP_handshackerResponse": ac_packets.RESPONSE,
    "ACUDP_RTCarInfo": ac_packets.CAR_INFO,
    "ACUDP_RTLap": ac_packets.LAP,
}
SIZES = [800, 1588, 820, 712, 296, 688, 408, 328, 212]
#: Unused memory where the game wrote something once: proven to be no field.
ODD = {"ac_shm_graphics_360.bin": slice(296, 300)}

needs_dumps = pytest.mark.skipif(not SHEET.is_dir(), reason=f"no dumps of real games at {SHEET}")
EXPECTED = json.loads((SHEET / "data" / "expected.json").read_text()) if SHEET.is_dir() else {}
STRUCTURES = sorted(name for name, one in EXPECTED.items() if "struct" in one)
MESSAGES = sorted(
    name for name in EXPECTED if name.startswith("acc_bc_") and not name.startswith("acc_bc_out")
)


def real(name: str) -> bytes:
    return (SHEET / "data" / name).read_bytes()


def values(dump: str) -> dict[str, object]:
    """Of a structure, with "(177 zeros)" written out."""
    told = EXPECTED[dump]["fields"]
    return {
        name: _whole(value) if isinstance(value, list) else value for name, value in told.items()
    }


def _whole(value: list) -> list:
    if not isinstance(value[-1], str):
        return value
    return value[:-1] + [0] * int(value[-1].strip("(").split()[0])


def encoded(layout: Layout, fields: dict[str, object], size: int, fill: int = 0) -> bytearray:
    """As many bytes as the dump has; a dump may be cut before the structure's end."""
    page = bytearray([fill]) * max(size, layout.size)
    layout.put(page, fields)
    return page[:size]


def proven(layout: Layout, fields: dict[str, object], size: int) -> set[int]:
    """The bytes that the decoded values decide: not padding, not what is after a text's end."""
    return {
        at
        for name, value in fields.items()
        for at in range(
            layout.fields[name].offset,
            layout.fields[name].offset + _told(layout.fields[name], value),
        )
        if at < size
    }


def _told(field: Field, value: object) -> int:
    if isinstance(value, str):
        return min(field.size, 2 * len(value) + 2)
    return field.size


@pytest.mark.parametrize(
    ("layout", "size"), list(zip(LAYOUTS.values(), SIZES, strict=True)), ids=LAYOUTS
)
def test_structures_are_as_large_as_the_games_make_them(layout, size):
    assert layout.size == size
    assert all(
        f.offset % (2 if f.kind == "w" else 4 if f.kind in "if" else 1) == 0
        for f in layout.fields.values()
    )


@needs_dumps
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_field_is_where_the_sheet_has_it(name):
    wanted = json.loads((SHEET / "layouts.json").read_text())["structs"][name]

    assert LAYOUTS[name].size == wanted["size"]
    assert [(f.name, f.offset, f.size) for f in LAYOUTS[name].fields.values()] == [
        (f["name"], f["offset"], f["size"]) for f in wanted["fields"]
    ]


@needs_dumps
@pytest.mark.parametrize("dump", STRUCTURES)
def test_values_of_a_dump_give_its_bytes(dump):
    told, bytes_then = values(dump), real(dump)
    layout = LAYOUTS[EXPECTED[dump]["struct"]]
    decided = proven(layout, told, len(bytes_then))

    again = encoded(layout, told, len(bytes_then))

    assert len(decided) > 0.25 * min(layout.size, len(bytes_then))
    assert {at for at in decided if again[at] != bytes_then[at]} == set()


@needs_dumps
@pytest.mark.parametrize("dump", [name for name in STRUCTURES if "shm" in name])
def test_what_no_value_decides_is_zero_in_a_dump_of_a_page(dump):
    """Hence nothing is missing from the layout; texts may have something stale behind their end."""
    bytes_then = real(dump)
    layout = LAYOUTS[EXPECTED[dump]["struct"]]
    rest = bytearray(bytes_then)
    for field in layout.fields.values():
        rest[field.offset : field.offset + field.size] = bytes(
            len(rest[field.offset : field.offset + field.size])
        )
    if dump in ODD:
        assert struct.unpack("<i", bytes_then[ODD[dump]]) == (-1,)
        rest[ODD[dump]] = bytes(4)

    assert not any(rest[: min(layout.size, len(rest))])
    assert not any(rest[layout.size :])


@needs_dumps
@pytest.mark.parametrize("dump", STRUCTURES)
def test_nothing_but_the_fields_is_written(dump):
    """What was in memory before stays: padding, and all that is behind a text's end."""
    told, size = values(dump), EXPECTED[dump]["length"]
    layout = LAYOUTS[EXPECTED[dump]["struct"]]
    decided = proven(layout, told, size)

    page = encoded(layout, told, size, fill=0xAA)

    assert all(page[at] == 0xAA for at in set(range(size)) - decided)


@needs_dumps
@pytest.mark.parametrize("message", MESSAGES)
def test_values_of_a_datagram_give_its_bytes(message):
    told = EXPECTED[message]

    assert again(told["message"], told["fields"]) == real(message)


def again(message: str, f: dict) -> bytes:
    """The message, encoded from decoded values; numbers of things are the encoder's own."""
    match message:
        case "REGISTRATION_RESULT":
            return acc_messages.registration_result(
                f["connectionId"],
                success=f["connectionSuccess"],
                commands=f["commandRights"],
                error=f["errorMessage"],
            )
        case "REALTIME_UPDATE":
            *values, best = f.values()
            assert values.pop(10) == 0  # no capture shows a replay
            return Update(*values[:10], None, *values[10:], lap(best)).encode()
        case "REALTIME_CAR_UPDATE":
            *values, best, last, current = f.values()
            return CarUpdate(*values, lap(best), lap(last), lap(current)).encode()
        case "ENTRY_LIST":
            return acc_messages.entry_list(f["connectionId"], f["carIndexes"])
        case "ENTRY_LIST_CAR":
            *values, count, drivers = f.values()
            assert count == len(drivers)
            return EntryListCar(*values, [Driver(*one.values()) for one in drivers]).encode()
        case "TRACK_DATA":
            sets = [(one["name"], one["cameras"]) for one in f["cameraSets"]]
            head = (f["connectionId"], f["trackName"], f["trackId"], f["trackMeters"])
            return TrackData(*head, sets, f["hudPages"]).encode()
        case "BROADCASTING_EVENT":
            return acc_messages.event(f["type"], f["msg"], time_ms=f["timeMs"], car=f["carId"])
    raise AssertionError(message)


def lap(f: dict) -> Lap:
    return Lap(f["laptimeMs"], f["carIndex"], f["driverIndex"], f["splits"], *list(f.values())[5:])


@needs_dumps
def test_a_real_registration_is_parsed():
    told = EXPECTED["acc_bc_out_1_register_prule_sim.bin"]["fields"]

    assert list(
        acc_messages.read_registration(real("acc_bc_out_1_register_prule_sim.bin"))
    ) == list(told.values())


@needs_dumps
@pytest.mark.parametrize(
    "name", ["acc_bc_out_10_request_entry_list.bin", "acc_bc_out_11_request_track_data.bin"]
)
def test_real_requests_name_their_connection(name):
    assert acc_messages.read_connection(real(name)) == 5


@pytest.mark.parametrize("cut", range(1, 22))
def test_a_shortened_registration_is_malformed(cut):
    """Real ACC does not survive it; ours says so."""
    whole = b"\x01\x04" + b"\x04\x00Test" + b"\x03\x00asd" + b"\xe8\x03\x00\x00" + b"\x03\x00asd"
    assert len(whole) == 22

    with pytest.raises(acc_messages.Malformed):
        acc_messages.read_registration(whole[:cut])
    assert acc_messages.read_registration(whole).interval_ms == 1000


def test_replay_adds_two_numbers_to_an_update():
    values = (0, 0, 0, 5, 1.0, 2.0, 0, "", "", "")
    best = Lap(acc_messages.NONE_MS, 0)
    driving = Update(*values, None, 3.0, 0, 0, 0, 0, 0, best).encode()
    showing = Update(*values, acc_messages.Replay(8.0, 9.0), 3.0, 0, 0, 0, 0, 0, best).encode()

    assert showing == driving[:25] + b"\x01" + struct.pack("<2f", 8.0, 9.0) + driving[26:]


def test_texts_end_before_their_place_does():
    page = bytearray(b"\xaa" * ac_packets.LAP.size)

    ac_packets.LAP.put(page, {"driverName": "x" * 80})

    field = ac_packets.LAP.fields["driverName"]
    text = page[field.offset : field.offset + field.size].decode("utf-16-le")
    assert text == "x" * 49 + "%"


def test_packets_are_padded_with_garbage():
    """A reader that takes padding for zero, or a text for one that NUL ends, must fail here."""
    drawn = Random(1)
    many = [
        ac_packets.packet(ac_packets.CAR_INFO, {"identifier": ord("a")}, drawn) for _ in range(300)
    ]

    assert {packet[0] for packet in many} == {ord("a")}
    assert all(len({packet[at] for packet in many}) > 100 for at in (1, 2, 3, 26, 27))


def test_a_list_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="velocity has 3 places, not 4"):
        pages.ACC_PHYSICS.put(bytearray(800), {"velocity": [1.0] * 4})


def test_an_unknown_kind_of_field_is_refused():
    with pytest.raises(ValueError, match="'gas:d' is not name:kind"):
        Layout("gas:d")
