"""A link opens its share until it ends, a user has what is shared with it, and no token is kept."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from ingest.errors import StoreUnavailable
from ingest.store.shares import Share
from serve.bridge.access.callers import Caller, NotAuthenticated, Refusal, Role, Shared
from serve.bridge.access.login_check import LoginCheck
from serve.bridge.sharing.links import PREFIX, digest_of, fragment_of, is_link, new_token
from serve.bridge.sharing.stored_shares import STALE_AFTER_S, StoredShares
from serve.bridge.sharing.valid_shares import ValidShares

TOKEN = PREFIX + "a" * 43
ENDS_S = 2_000_000_000


def share(id, *, token=None, users=(), session="a", lap=None, expires=True):
    ends = datetime.fromtimestamp(ENDS_S, UTC) if expires else None
    digest = digest_of(token) if token else None
    now = datetime.now(UTC)
    return Share(id, session, "ann", lap, users, "ann", now, ends, None, digest)


SHARES = ValidShares(
    [
        share(1, token=TOKEN),
        share(2, users=["bea", "cem"], session="b", lap=3),
        share(3, users=["bea"], session="c", expires=False),
    ]
)


def test_token_has_256_bits_and_its_digest_is_sha256():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) - len(PREFIX) for token in tokens} == {43}  # 256 bits, 6 in each letter
    assert all(is_link(token) for token in tokens)
    assert digest_of(TOKEN) == sha256(TOKEN.encode()).digest()
    assert fragment_of(TOKEN) == f"#share={TOKEN}"


def test_link_opens_its_share_and_no_other():
    guest = SHARES.guest(TOKEN, ENDS_S - 1)
    assert guest == Caller(
        "link-1", Role.GUEST, ENDS_S, shared=frozenset({Shared("a", "ann")}), share_id=1
    )


@pytest.mark.parametrize(
    ("token", "at_s"),
    [
        (PREFIX + "b" * 43, 0),
        (TOKEN[:-1], 0),
        (TOKEN + "a", 0),
        (PREFIX, 0),
        (PREFIX + "é", 0),
        (PREFIX + "a" * 10_000, 0),
        (TOKEN, ENDS_S),
    ],
)
def test_unknown_and_expired_links_get_the_same_refusal(token, at_s):
    with pytest.raises(NotAuthenticated) as refused:
        SHARES.guest(token, at_s)
    assert refused.value.reason is Refusal.UNKNOWN_LINK
    assert token not in str(refused.value)


def test_user_has_what_is_shared_with_it_until_it_ends():
    lap, session = Shared("b", "ann", 3), Shared("c", "ann")
    assert SHARES.shared_with("bea", 0) == {lap, session}
    assert SHARES.shared_with("cem", 0) == {lap}
    assert SHARES.shared_with("bea", ENDS_S) == {session}
    assert SHARES.shared_with("ann", 0) == SHARES.shared_with("", 0) == frozenset()


def test_share_is_valid_until_it_ends():
    assert [SHARES.is_valid(1, s) for s in (ENDS_S - 1, ENDS_S)] == [True, False]
    assert SHARES.is_valid(3, ENDS_S)
    assert not SHARES.is_valid(4, 0)


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


class Store:
    """A store that does not answer, or that has these shares."""

    answers = True
    made = (share(1, token=TOKEN), share(2, users=["bea"], session="b"))

    def query(self, run):
        if not self.answers:
            raise StoreUnavailable("here", "it is off")
        return run(self)

    def execute(self, _):
        return self

    def fetchone(self):
        return tuple(one.id for one in self.made)


@pytest.fixture
def stored(monkeypatch):
    clock, store = Clock(), Store()
    monkeypatch.setattr(
        "serve.bridge.sharing.stored_shares.valid_shares", lambda conn: list(conn.made)
    )
    return StoredShares(store, wall=clock), store, clock


def test_before_the_store_has_answered_nothing_is_shared(stored):
    shares, _, _ = stored
    with pytest.raises(NotAuthenticated) as refused:
        shares.guest(TOKEN, 0.0)
    assert refused.value.reason is Refusal.LINKS_UNAVAILABLE
    assert shares.shared_with("bea", 0.0) == frozenset()


def test_store_that_does_not_answer_for_long_shares_nothing(stored):
    shares, store, clock = stored
    shares.refresh()
    store.answers = False
    with pytest.raises(StoreUnavailable):
        shares.refresh()
    at_s = (STALE_AFTER_S, STALE_AFTER_S + 0.1)
    assert [shares.is_valid(1, s) for s in at_s] == [True, False]
    assert [bool(shares.shared_with("bea", s)) for s in at_s] == [True, False]
    assert shares.guest(TOKEN, at_s[0]).share_id == 1
    with pytest.raises(NotAuthenticated):
        shares.guest(TOKEN, at_s[1])
    store.answers, clock.now_s = True, 60.0
    shares.refresh()
    assert shares.is_valid(1, 60.0)


def test_what_changed_in_the_store_counts_after_the_next_look(stored):
    shares, store, _ = stored
    shares.refresh()
    store.made = (share(3, users=["bea"], session="c", lap=1),)
    shares.refresh()
    assert shares.shared_with("bea", 0.0) == {Shared("c", "ann", 1)}
    assert not shares.is_valid(1, 0.0)


class Keys:
    """Logins by a name."""

    required = True

    def authenticate(self, credential, now_s):
        return Caller(credential, Role.VIEWER)

    def still_valid(self, caller, now_s):
        return caller.name != "gone"


def check(shares, at_s=0.0, **logins):
    return LoginCheck(type("Logins", (Keys,), logins)(), shares, wall=lambda: at_s)


def test_login_has_what_is_shared_with_its_name_and_a_link_makes_a_guest():
    logins = check(SHARES_OF_STORE)
    assert logins.of_socket("cem", "here").shared == {Shared("b", "ann", 3)}
    assert logins.of_request("Bearer bea", "here").shared == SHARES.shared_with("bea", 0)
    guest = logins.of_request(f"Bearer {TOKEN}", "here")
    assert (guest.role, guest.share_id) == (Role.GUEST, 1)
    assert logins.current(guest) == guest


def test_caller_of_earlier_is_brought_up_to_date_or_ended():
    before, guest = Caller("bea", Role.VIEWER), SHARES.guest(TOKEN, 0)
    assert check(SHARES_OF_STORE).current(before).shared == SHARES.shared_with("bea", 0)
    assert check(SHARES_OF_STORE, ENDS_S).current(guest) is None
    assert check(SHARES_OF_STORE).current(Caller("gone", Role.VIEWER)) is None
    assert check(None).current(guest) is None


def test_link_is_no_login_where_none_is_needed():
    assert check(SHARES_OF_STORE, required=False).of_request(f"Bearer {TOKEN}", "").name == TOKEN


class SharesOfStore(StoredShares):
    def __init__(self):
        super().__init__(Store())
        self._shares, self._seen_at_s = SHARES, 1e18


SHARES_OF_STORE = SharesOfStore()
