"""Who may connect: bounded for one address, so that the others find room."""

from serve.bridge.access.admission import (
    TOO_MANY_OF_ADDRESS,
    TOO_MANY_OF_CALLER,
    TOO_MANY_SOCKETS,
    Admission,
    AdmissionLimits,
)
from serve.bridge.access.callers import ANYONE, Caller, Role

SMALL = AdmissionLimits(
    sockets=5, sockets_per_address=2, handshakes_per_s=2, demos=3, demos_per_address=1
)


def test_an_address_at_its_cap_keeps_nobody_else_out():
    admission = Admission(SMALL)

    assert [admission.enter("a") for _ in range(4)] == [
        None,
        None,
        TOO_MANY_OF_ADDRESS,
        TOO_MANY_OF_ADDRESS,
    ]
    assert admission.enter("b") is None
    assert admission.sockets == 3


def test_who_leaves_makes_room():
    admission = Admission(SMALL)
    for _ in range(2):
        admission.enter("a")
    admission.leave("a")

    assert admission.enter("a") is None
    assert admission.enter("a") == TOO_MANY_OF_ADDRESS


def test_all_addresses_together_are_bounded_too():
    admission = Admission(SMALL)

    assert [admission.enter(address) for address in "aabbcd"] == [None] * 5 + [TOO_MANY_SOCKETS]


def test_handshakes_are_counted_by_address_and_earned_again():
    admission = Admission(SMALL)

    assert [admission.shake_hands("a", now=0.0) for _ in range(5)] == [True] * 4 + [False]
    assert admission.shake_hands("b", now=0.0)
    assert admission.shake_hands("a", now=0.5)
    assert not admission.shake_hands("a", now=0.5)


def test_a_million_addresses_are_not_remembered():
    admission = Admission(SMALL)
    for number in range(10_500):
        admission.shake_hands(str(number), now=0.0)

    assert len(admission._handshakes) == 10_000


def test_demos_are_bounded_by_address_and_in_all():
    admission = Admission(SMALL)

    assert admission.start_demo("a") is None
    assert "your address" in admission.start_demo("a")
    assert [admission.start_demo(address) for address in "bc"] == [None, None]
    assert admission.start_demo("d") == "too many demos are playing; try again later"
    admission.end_demo("a")
    assert admission.start_demo("d") is None


def test_name_has_so_many_sockets_wherever_it_is():
    admission = Admission(AdmissionLimits(sockets_per_caller=2))

    ann, bea = (Caller(name, Role.VIEWER) for name in ("ann", "bea"))
    assert [admission.admit_caller(ann) for _ in range(3)] == [None, None, TOO_MANY_OF_CALLER]
    assert admission.admit_caller(bea) is None
    admission.release_caller(ann)
    assert admission.admit_caller(ann) is None


def test_guests_of_a_link_have_a_bound_of_their_own():
    admission = Admission(AdmissionLimits(sockets_per_caller=1, sockets_per_link=2))

    guest, other = (Caller("link-1", Role.GUEST, share_id=id) for id in (1, 2))
    namesake = Caller("link-1", Role.VIEWER)
    assert [admission.admit_caller(guest) for _ in range(3)] == [None, None, TOO_MANY_OF_CALLER]
    assert admission.admit_caller(other) is admission.admit_caller(namesake) is None
    admission.release_caller(guest)
    assert admission.admit_caller(guest) is None


def test_nobody_in_particular_has_no_limit():
    admission = Admission(AdmissionLimits(sockets_per_caller=2))

    assert {admission.admit_caller(ANYONE) for _ in range(100)} == {None}
