"""ACC's broadcasting protocol: whatever comes is a message, whole, or is refused in words."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collectors.games.acc import broadcast_protocol
from ingest.collectors.games.acc.broadcast_messages import (
    BroadcastDriver,
    EntryList,
    EntryListCar,
    RegistrationResult,
    TrackData,
)
from tests.game_emulators import acc_messages as game
from tests.unit.acc import car_update, lap, update

numbers = st.integers(-(2**31), 2**31 - 1)
shorts = st.integers(0, 0xFFFF)
texts = st.text(max_size=40)
laps = st.builds(lap, numbers, splits_ms=st.lists(numbers, max_size=5), invalid=st.integers(0, 1))
sent = st.one_of(
    st.builds(
        update,
        st.floats(width=32),
        best_lap=laps,
        camera=texts,
        replay=st.just(game.Replay(1.0, 2.0)) | st.none(),
    ),
    st.builds(car_update, numbers, car=shorts, best_lap=laps, last_lap=laps, current_lap=laps),
    st.builds(
        game.TrackData,
        numbers,
        texts,
        numbers,
        numbers,
        st.lists(st.tuples(texts, st.lists(texts, max_size=3)), max_size=3),
        st.lists(texts, max_size=3),
    ),
    st.builds(
        game.EntryListCar,
        shorts,
        st.integers(0, 255),
        texts,
        numbers,
        st.integers(0, 255),
        st.integers(0, 255),
        shorts,
        st.lists(
            st.builds(
                game.Driver, texts, texts, texts, category=st.integers(0, 255), nationality=shorts
            ),
            max_size=4,
        ),
    ),
).map(lambda message: message.encode())


def read_or_refused(datagram):
    """The message and the rest; or the words of the refusal."""
    try:
        return broadcast_protocol.parse(datagram)
    except broadcast_protocol.InvalidBroadcast as refused:
        return str(refused), b""


def test_registration_is_read_by_the_game():
    read = game.read_registration(broadcast_protocol.register("Purple Sector", "geheim", 100))

    assert read == (4, "Purple Sector", "geheim", 100, "")


def test_a_text_that_does_not_fit_is_not_sent():
    """A malformed registration has crashed the game."""
    with pytest.raises(ValueError, match="at most 65535 bytes, not 65536"):
        broadcast_protocol.register("x" * 65536, "", 100)


def test_leaving_names_the_connection():
    assert broadcast_protocol.unregister(-2) == b"\x09\xfe\xff\xff\xff"


@given(sent, st.binary(max_size=30))
def test_what_follows_a_message_is_left_alone(datagram, more):
    message, rest = broadcast_protocol.parse(datagram + more)

    assert rest == more
    assert repr(message) == repr(broadcast_protocol.parse(datagram)[0])


@given(sent, st.data())
def test_a_message_that_ends_early_is_refused(datagram, data):
    cut = data.draw(st.integers(1, len(datagram) - 1))

    with pytest.raises(broadcast_protocol.InvalidBroadcast, match=r"truncated$"):
        broadcast_protocol.parse(datagram[:cut])


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_read_within_their_end(datagram):
    read, rest = read_or_refused(datagram)

    assert (
        not any(letter.isdigit() for letter in read)
        if isinstance(read, str)
        else len(rest) < len(datagram)
    )


def test_a_string_longer_than_the_datagram_is_refused():
    endless = struct.pack("<BBH", 7, 5, 0xFFFF) + b"01:33.695"

    with pytest.raises(broadcast_protocol.InvalidBroadcast, match="event truncated"):
        broadcast_protocol.parse(endless)


def test_half_a_character_is_replaced():
    datagram = game.event(5, b"caf\xc3", time_ms=1, car=2)

    assert broadcast_protocol.parse(datagram)[0].text == "caf\ufffd"


@pytest.mark.parametrize(
    ("datagram", "words"), [(b"", "empty datagram"), (b"\xff\0\0", "message of an unknown kind")]
)
def test_what_is_no_message(datagram, words):
    with pytest.raises(broadcast_protocol.InvalidBroadcast, match=words):
        broadcast_protocol.parse(datagram)


def test_zero_means_that_nothing_may_be_commanded():
    datagram = game.registration_result(
        2, success=True, commands=False, error="readonly access granted"
    )

    assert broadcast_protocol.parse(datagram)[0] == RegistrationResult(
        2, True, False, "readonly access granted"
    )


def test_lists():
    crew = game.EntryListCar(
        7, 32, "Équipe", 51, 0, 1, 3, [game.Driver("A", "B", "AB"), game.Driver("C", "D", "CD")]
    )
    track = game.TrackData(1, "Monza Circuit", 12, 5793, [("set", ["one", "two"])], ["HUD"])

    assert broadcast_protocol.parse(game.entry_list(1, [7, 3]))[0] == EntryList(1, (7, 3))
    assert broadcast_protocol.parse(crew.encode())[0] == EntryListCar(
        7, 32, "Équipe", 51, 1, (BroadcastDriver("A", "B", "AB"), BroadcastDriver("C", "D", "CD"))
    )
    assert broadcast_protocol.parse(track.encode())[0] == TrackData(1, "Monza Circuit", 12, 5793)
