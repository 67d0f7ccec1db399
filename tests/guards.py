"""Take the guards of access out, one by one, and show that a test fails without each.

``make guards`` works on a copy of the tracked files, so nothing here is touched. It prints a line a
guard, and ends with 1 where a guard can go without a test that fails, or where its text has moved.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

UNIT = "tests/unit/serve/bridge/access"
PAGE = "tests/service/test_access.py"
TOKENS = "tests/service/test_tokens.py"
SOCKETS = "tests/service/test_hostile_sockets.py"
REST = "tests/service/test_rest.py"
CHANGES = "tests/service/test_changes.py"
DELETIONS = "tests/contract/test_deletions.py"
HOSTILE = f"{SOCKETS}::test_hostile_frames_end_with_their_code_and_a_viewer_beside_them_goes_on"
ACCESS = "serve/bridge/access"
LIVE = "serve/bridge/live"
FRONT = "serve/bridge/front"
FRONT_UNIT = "tests/unit/serve/bridge/front"
TLS = "tests/service/test_page_tls.py"


@dataclass(frozen=True, slots=True)
class Guard:
    """A check: its file, its text, the text that disables it, and the test that then fails."""

    line: str  # of S1 to S19, or the item
    file: str
    text: str
    without: str
    test: str


GUARDS = (
    Guard(
        "S1 no open port without a login",
        f"{ACCESS}/logins.py",
        "if not is_loopback(serve.host):",
        "if False:",
        f"{UNIT}/test_logins.py::test_no_login_is_for_the_loopback_only",
    ),
    Guard(
        "S1 no open proxy",
        f"{ACCESS}/logins.py",
        "if serve.proxies:",
        "if False:",
        f"{UNIT}/test_logins.py::test_a_page_behind_a_proxy_is_open_wherever_it_listens",
    ),
    Guard(
        "S2 Host",
        "serve/bridge/access/hosts.py",
        "host is not None and (host.is_known or host.name in self._names)",
        "True",
        f"{UNIT}/test_hosts.py",
    ),
    Guard(
        "S2 Origin",
        "serve/bridge/access/hosts.py",
        "if page is None or scheme.lower() not in _DEFAULT_PORTS:",
        "if True:\n            return True\n        if page is None:",
        f"{UNIT}/test_hosts.py",
    ),
    Guard(
        "S2 Origin of changes",
        "serve/bridge/rest/changes.py",
        "if not bridge.is_ours(request):",
        "if False:",
        f"{CHANGES}::test_page_of_another_site_changes_nothing",
    ),
    Guard(
        "S3 login in time",
        f"{LIVE}/socket_login.py",
        "asyncio.wait_for(socket.receive(), LOGIN_WITHIN_S)",
        "socket.receive()",
        f"{PAGE}::test_silent_socket_is_closed_and_a_key_in_the_address_is_no_login",
    ),
    Guard(
        "S3 login first",
        f"{LIVE}/socket_login.py",
        "if not logins.required:",
        "if True:",
        f"{PAGE}::test_socket_without_a_login_is_closed_with_its_code",
    ),
    Guard(
        "S3 login of REST",
        "serve/bridge/rest/guarded.py",
        "return bridge.logins.of_request(given, bridge.address_of(request))",
        'return Caller("", "operator")',
        f"{PAGE}::test_data_needs_a_login",
    ),
    Guard(
        "S4 algorithm",
        f"{ACCESS}/tokens.py",
        "if not isinstance(algorithm, str) or algorithm not in algorithms:",
        "if False:",
        f"{UNIT}/test_tokens.py::test_header_is_checked_before_a_key_is_used",
    ),
    Guard(
        "S4 type",
        f"{ACCESS}/tokens.py",
        "if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):",
        "if False:",
        f"{UNIT}/test_tokens.py::test_header_is_checked_before_a_key_is_used",
    ),
    Guard(
        "S4 length",
        f"{ACCESS}/tokens.py",
        "if len(token) > MAX_TOKEN_BYTES:",
        "if False:",
        f"{UNIT}/test_tokens.py::test_spoiled_token_is_refused_with_its_code",
    ),
    Guard(
        "S4 signature",
        f"{ACCESS}/tokens.py",
        "jwt.PyJWS().decode(token, key.key, algorithms=[algorithm])",
        'jwt.PyJWS().decode(token, options={"verify_signature": False})',
        f"{UNIT}/test_tokens.py::test_spoiled_token_is_refused_with_its_code",
    ),
    Guard(
        "S4 one algorithm a key",
        f"{ACCESS}/tokens.py",
        'if key.algorithm not in {"", algorithm}:',
        "if False:",
        f"{UNIT}/test_tokens.py::test_key_is_for_its_algorithm_and_its_family",
    ),
    Guard(
        "S4 issuer",
        f"{ACCESS}/tokens.py",
        'if claims["iss"] != rules.issuer:',
        "if False:",
        f"{UNIT}/test_tokens.py::test_claims_are_refused_with_their_code",
    ),
    Guard(
        "S4 audience",
        f"{ACCESS}/tokens.py",
        "if audience not in audiences:",
        "if False:",
        f"{UNIT}/test_tokens.py::test_claims_are_refused_with_their_code",
    ),
    Guard(
        "S4 expiry",
        f"{ACCESS}/tokens.py",
        "if now_s >= expires_at_s:",
        "if False:",
        f"{UNIT}/test_tokens.py::test_claims_are_refused_with_their_code",
    ),
    Guard(
        "S4 not yet valid",
        f"{ACCESS}/tokens.py",
        "if any(now_s < start - LEEWAY_S for start in starts):",
        "if False:",
        f"{UNIT}/test_tokens.py::test_claims_are_refused_with_their_code",
    ),
    Guard(
        "S4 times are numbers",
        f"{ACCESS}/tokens.py",
        "if not known or not -_LATEST_S < value < _LATEST_S:",
        "if not known:",
        f"{UNIT}/test_tokens.py::test_claims_are_refused_with_their_code",
    ),
    Guard(
        "S4 repeated names",
        f"{ACCESS}/tokens.py",
        "if len(found := dict(pairs)) != len(pairs):",
        "found = dict(pairs)\n    if False:",
        f"{UNIT}/test_tokens.py::test_spoiled_token_is_refused_with_its_code",
    ),
    Guard(
        "S4 RSA of 2048 bits",
        f"{ACCESS}/signing_keys.py",
        'if kind == "RSA" and key.key_size < _MIN_RSA_BITS:',
        "if False:",
        f"{UNIT}/test_tokens.py::test_key_set_gives_its_usable_keys_only",
    ),
    Guard(
        "S4 https for keys",
        f"{ACCESS}/signing_keys.py",
        'if parts.scheme != "https" and not (parts.scheme == "http" and local):',
        "if False:",
        f"{TOKENS}::test_document_that_leads_astray_is_refused",
    ),
    Guard(
        "S4 issuer of the document",
        f"{ACCESS}/signing_keys.py",
        'if found.get("issuer") != issuer:',
        "if False:",
        f"{TOKENS}::test_document_that_leads_astray_is_refused",
    ),
    Guard(
        "S4 no redirects",
        f"{ACCESS}/signing_keys.py",
        "build_opener(_NoRedirects, *([ProxyHandler({})] if local else []))",
        "build_opener(*([ProxyHandler({})] if local else []))",
        f"{TOKENS}::test_redirect_is_not_followed",
    ),
    Guard(
        "S4 keys once in a while",
        f"{ACCESS}/signing_keys.py",
        "self._at_least_s if self._keys else self._soon_s",
        "0.0",
        f"{TOKENS}::test_unknown_keys_make_it_look_again_once_in_a_while",
    ),
    Guard(
        "S4 expiry of open sockets",
        "serve/bridge/web_app.py",
        "        bridge.recheck()\n",
        "",
        f"{PAGE}::test_removed_key_closes_its_sockets_and_no_other",
    ),
    Guard(
        "S4 critical headers",
        f"{ACCESS}/tokens.py",
        'if "crit" in header or "b64" in header:',
        "if False:",
        f"{UNIT}/test_tokens.py::test_header_is_checked_before_a_key_is_used",
    ),
    Guard(
        "S4 key has a name",
        f"{ACCESS}/tokens.py",
        "if not isinstance(kid, str) or not kid:",
        "if False:",
        f"{UNIT}/test_tokens.py::test_header_is_checked_before_a_key_is_used",
    ),
    Guard(
        "S4 claims that are wanted",
        f"{ACCESS}/tokens.py",
        "if any(claims.get(name) is None for name in (",
        "if any(False for name in (",
        f"{UNIT}/test_tokens.py::test_claims_are_refused_with_their_code",
    ),
    Guard(
        "S4 leeway of the expiry",
        f"{ACCESS}/tokens.py",
        '_seconds(claims["exp"]) + LEEWAY_S',
        '_seconds(claims["exp"]) + 2 * LEEWAY_S',
        f"{UNIT}/test_tokens.py::test_claims_are_refused_with_their_code",
    ),
    Guard(
        "S5 shared topic proves nobody",
        "ingest/codec/session_owner.py",
        "if owner == NOBODY:",
        "if False:",
        "tests/unit/ingest/codec/test_session_owner.py",
    ),
    Guard(
        "S5 user in the key",
        "ingest/codec/session_owner.py",
        "(user_in_key(key), FOREIGN_KEY)",
        '("", FOREIGN_KEY)',
        "tests/unit/ingest/codec/test_session_owner.py",
    ),
    Guard(
        "S5 user in the header",
        "ingest/codec/session_owner.py",
        "(header, FOREIGN_HEADER)",
        '("", FOREIGN_HEADER)',
        "tests/unit/ingest/codec/test_session_owner.py",
    ),
    Guard(
        "S5 user in the facts",
        "ingest/codec/session_owner.py",
        "(facts, FOREIGN_FACTS)",
        '("", FOREIGN_FACTS)',
        "tests/unit/ingest/codec/test_session_owner.py",
    ),
    Guard(
        "S5 session of another, stored",
        "ingest/batching/foreign_records.py",
        "if sessions[key].user_id != owner}",
        "if False}",
        "tests/unit/ingest/batching/test_foreign_records.py",
    ),
    Guard(
        "S5 session of another, live",
        f"{LIVE}/hub.py",
        "self._owners.setdefault(record.session, record.user) != record.user",
        "False",
        "tests/unit/serve/bridge/live/test_hub.py",
    ),
    Guard(
        "S6 rights",
        f"{ACCESS}/policy.py",
        "if caller.role in _READ_ALL or _owns(caller, owner):",
        "if True:",
        f"{UNIT}/test_policy.py",
    ),
    Guard(
        "S6 unknown owner",
        f"{ACCESS}/policy.py",
        "return bool(owner) and caller.name == owner and",
        "return caller.name == owner and",
        f"{UNIT}/test_policy.py",
    ),
    Guard(
        "S6 list of sessions",
        "serve/bridge/rest/guarded.py",
        "queries.sessions(conn, **self._readable, **where)",
        "queries.sessions(conn, **where)",
        f"{PAGE}::test_page_is_of_sessions_that_may_be_read",
    ),
    Guard(
        "S6 one session",
        "serve/bridge/rest/guarded.py",
        "queries.session(conn, key, **self._readable)\n        part = self._reach_of(found)",
        "queries.session(conn, key)\n        part = Reach(whole=True)",
        f"{PAGE}::test_foreign_and_missing_sessions_get_the_same_answer",
    ),
    Guard(
        "S6 part of a session",
        "serve/bridge/rest/guarded.py",
        "return reach(self._caller, session.user_id, session.key)",
        "return Reach(whole=True)",
        f"{PAGE}::test_lap_has_its_own_times_and_frames_only",
    ),
    Guard(
        "S6 statistics",
        "serve/bridge/rest/guarded.py",
        "if not may_see_statistics(caller):",
        "if False:",
        f"{PAGE}::test_statistics_are_for_engineers",
    ),
    Guard(
        "S6 live frames",
        f"{LIVE}/hub.py",
        "tuple(one for one in viewers if self._may_watch(one, user, session))",
        "tuple(viewers)",
        f"{PAGE}::test_frames_go_to_those_who_may_read_them",
    ),
    Guard(
        "S6 facts for one who comes late",
        f"{LIVE}/hub.py",
        "if not self._may_watch(viewer, session.user, session.key):",
        "if False:",
        "tests/unit/serve/bridge/live/test_hub.py",
    ),
    Guard(
        "S6 renewal keeps the name",
        f"{LIVE}/websocket.py",
        "if (caller.name, caller.share_id) != (self.caller.name, self.caller.share_id):",
        "if False:",
        f"{PAGE}::test_login_is_renewed_in_place_and_keeps_its_name",
    ),
    Guard(
        "S6 a session or lap of a share",
        f"{ACCESS}/policy.py",
        "if (s.session, s.owner) == (session, owner)]",
        "]",
        f"{UNIT}/test_policy.py",
    ),
    Guard(
        "S6 laps of a share",
        f"{ACCESS}/policy.py",
        "return self.whole or lap_number in self.laps",
        "return True",
        f"{PAGE}::test_lap_that_is_not_shared_is_like_one_that_does_not_exist",
    ),
    Guard(
        "S6 guest owns nothing",
        f"{ACCESS}/policy.py",
        "caller.name == owner and caller.role is not Role.GUEST",
        "caller.name == owner",
        f"{UNIT}/test_policy.py::test_guest_owns_nothing_whatever_its_name",
    ),
    Guard(
        "S6 seconds of a whole session",
        "serve/bridge/rest/guarded.py",
        "if not self._find(conn, key)[1].whole:",
        "if not self._find(conn, key):",
        f"{PAGE}::test_share_shows_its_session_or_lap_and_nothing_else",
    ),
    Guard(
        "S6 facts of a shared lap",
        "serve/bridge/rest/guarded.py",
        "    if part.whole:\n        return session\n",
        "    return session\n",
        f"{PAGE}::test_lap_has_its_own_times_and_frames_only",
    ),
    Guard(
        "S6 sums of a shared lap",
        "serve/bridge/rest/guarded.py",
        "if ended is None or one.lap_number in ended]",
        "]",
        f"{PAGE}::test_lap_has_its_own_times_and_frames_only",
    ),
    Guard(
        "S6 who shares",
        "serve/bridge/sharing/share_routes.py",
        "if not may_share(caller, owner):",
        "if False:",
        f"{PAGE}::test_named_user_reads_and_may_not_share_on",
    ),
    Guard(
        "S6 shares of this session",
        "serve/bridge/sharing/share_routes.py",
        "if share_of(conn, id).session_key != self._key:",
        "if False:",
        f"{PAGE}::test_share_of_another_session_is_not_revoked_here",
    ),
    Guard(
        "S6 guest has no demo",
        f"{LIVE}/websocket.py",
        "if not may_play_demo(self.caller):",
        "if False:",
        f"{PAGE}::test_guest_has_no_demo_and_stays_a_guest",
    ),
    Guard(
        "S6 a key makes no guest",
        f"{ACCESS}/keys.py",
        "if role not in {one.value for one in LOGIN_ROLES}:",
        "if role not in {one.value for one in Role}:",
        f"{UNIT}/test_keys.py",
    ),
    Guard(
        "S4 a link ends with its share",
        f"{ACCESS}/login_check.py",
        "return caller if self._shares.is_valid(caller.share_id, now_s) else None",
        "return caller",
        f"{PAGE}::test_share_that_ends_closes_its_sockets_and_no_other",
    ),
    Guard(
        "S4 expiry of a link",
        "serve/bridge/sharing/valid_shares.py",
        "if share is None or _expired(share, now_s):",
        "if share is None:",
        f"{PAGE}::test_link_that_ended_or_never_was_gets_the_same_refusal",
    ),
    Guard(
        "S4 what is shared by now",
        f"{LIVE}/websocket.py",
        "            self._bridge.hub.renew(self._viewer, caller)\n            return\n",
        "            return\n",
        f"{PAGE}::test_named_user_watches_until_the_share_is_revoked",
    ),
    Guard(
        "S14 a store that is away shares nothing",
        "serve/bridge/sharing/stored_shares.py",
        "return now_s - self._seen_at_s > STALE_AFTER_S",
        "return False",
        "tests/unit/serve/bridge/sharing/test_valid_shares.py",
    ),
    Guard(
        "S7 sockets of a link",
        f"{ACCESS}/admission.py",
        "most = self.limits.sockets_per_link",
        "most = 1000",
        f"{PAGE}::test_guests_of_a_link_are_bounded_together",
    ),
    Guard(
        "S7 bodies",
        "serve/bridge/web_app.py",
        "int(length) <= _MOST_BODY_BYTES",
        "True",
        f"{PAGE}::test_odd_share_is_refused",
    ),
    Guard(
        "S15 no token of a link in the store",
        "serve/bridge/sharing/links.py",
        "return sha256(token.encode()).digest()",
        "return token.encode()[:32]",
        "tests/unit/serve/bridge/sharing/test_valid_shares.py",
    ),
    Guard(
        "S10 a share is for its users",
        "ingest/store/schema/analyst_views.py",
        "current_user = ANY (h.users) AND ",
        "",
        "tests/contract/test_shares.py::test_analyst_reads_nothing_by_a_share_that_ended",
    ),
    Guard(
        "S10 a revoked share",
        "ingest/store/schema/analyst_views.py",
        " AND h.revoked_at IS NULL",
        "",
        "tests/contract/test_shares.py::test_analyst_reads_nothing_by_a_share_that_ended",
    ),
    Guard(
        "S10 an expired share",
        "ingest/store/schema/analyst_views.py",
        "AND (h.expires_at IS NULL OR h.expires_at > now())",
        "",
        "tests/contract/test_shares.py::test_analyst_reads_nothing_by_a_share_that_ended",
    ),
    Guard(
        "S10 a lap is no session",
        "ingest/store/schema/analyst_views.py",
        " WHERE h.lap_number IS NULL)",
        ")",
        "tests/contract/test_shares.py::test_analyst_reads_a_lap_that_is_shared_with_it_and_no_other",
    ),
    Guard(
        "S10 the page changes no share",
        "ingest/store/schema/grants.py",
        '" UPDATE (revoked_at)"',
        '" UPDATE"',
        "tests/contract/test_database_roles.py::"
        "test_every_statement_beyond_a_roles_work_is_refused",
    ),
    Guard(
        "S6 who changes a session",
        "serve/bridge/rest/changes.py",
        "if not may_delete(caller, session.user_id):",
        "if False:",
        f"{CHANGES}::test_policy_decides_who_changes_a_session",
    ),
    Guard(
        "S6 a session is deleted for its user",
        "ingest/store/schema/deletion.sql",
        "SELECT id INTO found_id FROM sessions WHERE key = in_key AND user_id = in_user",
        "SELECT id INTO found_id FROM sessions WHERE key = in_key",
        f"{DELETIONS}::test_session_is_deleted_by_its_user_alone_and_once",
    ),
    Guard(
        "S6 hidden sessions",
        "serve/bridge/rest/guarded.py",
        '"hidden_of": hidden_owners(caller),',
        "",
        f"{CHANGES}::test_owner_renames_and_hides_its_session",
    ),
    Guard(
        "S6 live frames of hidden sessions",
        f"{LIVE}/hub.py",
        "if session in self._hidden and not may_see_hidden(viewer.caller, user):",
        "if False:",
        "tests/unit/serve/bridge/live/test_hub.py",
    ),
    Guard(
        "S6 live frames of deleted sessions",
        f"{LIVE}/hub.py",
        "if record.session in self._deleted:",
        "if False:",
        "tests/unit/serve/bridge/live/test_hub.py",
    ),
    Guard(
        "S6 a viewer of a deleted session is closed",
        f"{LIVE}/hub.py",
        "viewer.close(SESSION_DELETED)",
        "pass",
        "tests/unit/serve/bridge/live/test_hub.py",
    ),
    Guard(
        "S6 records of deleted sessions",
        "ingest/workers/partition_worker.py",
        "decoded = without_deleted(decoded, keys, self._store.deleted(unsure))",
        "pass",
        "tests/service/test_worker.py"
        "::test_session_that_is_deleted_while_it_is_driven_stays_deleted",
    ),
    Guard(
        "S6 a deleted session is not made again",
        "ingest/store/partition_writer.py",
        "WHERE d.key_hash = sha256(convert_to(new.key, 'UTF8')))",
        "WHERE false)",
        f"{DELETIONS}::test_session_that_is_being_written_ends_at_its_next_batch",
    ),
    Guard(
        "S6 no key of a deleted session is kept",
        "ingest/store/schema/deletion.sql",
        "sha256(convert_to(in_key, 'UTF8'))",
        "convert_to(in_key, 'UTF8')",
        f"{DELETIONS}::test_nothing_of_a_deleted_session_is_left_in_any_table",
    ),
    Guard(
        "S7 sockets of a name",
        f"{ACCESS}/admission.py",
        "if caller.name and self._callers[_counted(caller)] >= most:",
        "if False:",
        f"{PAGE}::test_name_has_so_many_sockets_and_takes_none_from_another",
    ),
    Guard(
        "S7 sockets of an address",
        f"{ACCESS}/admission.py",
        "if self._sockets[address] >= self.limits.sockets_per_address:",
        "if False:",
        f"{UNIT}/test_admission.py",
    ),
    Guard(
        "S7 subscriptions",
        f"{LIVE}/websocket.py",
        "if len(watches) > most:",
        "if False:",
        f"{PAGE}::test_socket_has_so_many_subscriptions_by_message_and_in_the_address",
    ),
    Guard(
        "S7 refused logins",
        "serve/bridge/rest/guarded.py",
        "if not bridge.admission.shake_hands(address, now=bridge.clock()):",
        "if False:",
        f"{PAGE}::test_refused_logins_of_an_address_are_slowed_down",
    ),
    Guard(
        "S7 sockets in all",
        f"{ACCESS}/admission.py",
        "if self.sockets >= self.limits.sockets:",
        "if False:",
        f"{UNIT}/test_admission.py",
    ),
    Guard(
        "S7 sockets of an address, on the page",
        f"{LIVE}/websocket.py",
        "(refused := self.admission.enter(address))",
        "(refused := None)",
        f"{SOCKETS}::test_address_has_so_many_sockets_and_demos",
    ),
    Guard(
        "S7 handshakes of an address",
        f"{LIVE}/websocket.py",
        "if not self.admission.shake_hands(address, now=self.clock()):",
        "if False:",
        f"{SOCKETS}::test_address_that_shakes_hands_too_often_is_refused",
    ),
    Guard(
        "S7 demos of an address",
        f"{ACCESS}/admission.py",
        "if self._demos[address] >= self.limits.demos_per_address:",
        "if False:",
        f"{UNIT}/test_admission.py",
    ),
    Guard(
        "S7 demos in all",
        f"{ACCESS}/admission.py",
        "if self.demos >= self.limits.demos:",
        "if False:",
        f"{UNIT}/test_admission.py",
    ),
    Guard(
        "S7 demos, on the page",
        f"{LIVE}/websocket.py",
        "(full := self._bridge.admission.start_demo(self._address))",
        "(full := None)",
        f"{SOCKETS}::test_address_has_so_many_sockets_and_demos",
    ),
    Guard(
        "S7 size of a message",
        f"{LIVE}/socket_limits.py",
        '    "ws_max_size": MAX_MESSAGE_BYTES,\n',
        "",
        f"{HOSTILE}[oversize]",
    ),
    Guard(
        "S7 rate of text messages",
        f"{LIVE}/socket_limits.py",
        "        if self._spend():\n            super().handle_text(event)",
        "        if True:\n            super().handle_text(event)",
        f"{HOSTILE}[messages]",
    ),
    Guard(
        "S7 rate of messages of bytes",
        f"{LIVE}/socket_limits.py",
        "        if self._spend():\n            super().handle_bytes(event)",
        "        if True:\n            super().handle_bytes(event)",
        f"{HOSTILE}[bytes]",
    ),
    Guard(
        "S7 rate of fragments",
        f"{LIVE}/socket_limits.py",
        "        if self._spend():\n            super().handle_cont(event)",
        "        if True:\n            super().handle_cont(event)",
        f"{HOSTILE}[empty fragments]",
    ),
    Guard(
        "S7 rate of pings",
        f"{LIVE}/socket_limits.py",
        "        if self._spend():\n            super().handle_ping()",
        "        if True:\n            super().handle_ping()",
        f"{HOSTILE}[pings]",
    ),
    Guard(
        "S7 rate of pongs",
        f"{LIVE}/socket_limits.py",
        "        if self._spend():\n            super().handle_pong(event)",
        "        if True:\n            super().handle_pong(event)",
        f"{HOSTILE}[pongs]",
    ),
    Guard(
        "S7 rate of frames",
        f"{LIVE}/client_messages.py",
        "if self._left < 1.0:",
        "if False:",
        "tests/unit/serve/bridge/live/test_client_messages.py",
    ),
    Guard(
        "S7 what must arrive and waits",
        f"{LIVE}/viewer.py",
        "if self._kept_bytes > self._patience.kept_bytes:",
        "if False:",
        "tests/unit/serve/bridge/live/test_viewer.py",
    ),
    Guard(
        "S7 viewer that takes nothing",
        f"{LIVE}/viewer.py",
        "elif now - self._since > self._patience.stalled_s:",
        "elif False:",
        "tests/unit/serve/bridge/live/test_viewer.py",
    ),
    Guard(
        "S7 frames that wait",
        f"{LIVE}/viewer.py",
        "if self._over():",
        "if False:",
        "tests/unit/serve/bridge/live/test_viewer.py",
    ),
    Guard(
        "S7 time of a statement",
        "serve/bridge/rest/store_reader.py",
        "-c statement_timeout=5000 ",
        "",
        f"{REST}::test_store_is_read_with_limits_and_not_written",
    ),
    Guard(
        "S7 connections to the store",
        "serve/bridge/rest/store_reader.py",
        "max_size=_CONNECTIONS,",
        "max_size=64,",
        f"{REST}::test_store_is_read_with_limits_and_not_written",
    ),
    Guard(
        "S7 sessions of an answer",
        "serve/bridge/rest/routes.py",
        "Query(ge=1, le=_PAGE_SESSIONS)",
        "Query(ge=1)",
        f"{REST}::test_pages_are_short_and_searches_too",
    ),
    Guard(
        "S7 length of a search",
        "serve/bridge/rest/routes.py",
        "Query(max_length=_LONGEST_SEARCH)",
        "Query()",
        f"{REST}::test_pages_are_short_and_searches_too",
    ),
    Guard(
        "S8 no right without a rule",
        "ingest/embedded/kafka/cluster.py",
        '"allow.everyone.if.no.acl.found": "false"',
        '"allow.everyone.if.no.acl.found": "true"',
        "tests/service/test_kafka_security.py::test_what_is_not_granted_is_refused",
    ),
    Guard(
        "S8 rights of a driver, on topics",
        "ingest/kafka/collector_users.py",
        "            (topic, AclOperation.WRITE),",
        '            ("*", AclOperation.WRITE),',
        "tests/service/test_hostile_writer.py::test_bob_reaches_nothing_of_alice",
    ),
    Guard(
        "S8 rights of a driver, on commands",
        "ingest/kafka/collector_users.py",
        "(self._settings.topic_commands, AclOperation.READ)",
        "(self._settings.topic_commands, AclOperation.ALL)",
        "tests/service/test_hostile_writer.py::test_bob_reaches_nothing_of_alice",
    ),
    Guard(
        "S8 rights of the page, as documented",
        "docs/kafka-access.md",
        "User:bridge --operation Read --topic telemetry --topic laps",
        "User:bridge --operation All --topic telemetry --topic laps",
        "tests/service/test_kafka_security.py::test_what_is_not_granted_is_refused",
    ),
    Guard(
        "S8 rights of ingest, as documented",
        "docs/kafka-access.md",
        "User:ingest --operation Write --topic laps",
        "User:ingest --operation All --topic laps",
        "tests/service/test_kafka_security.py::test_what_is_not_granted_is_refused",
    ),
    Guard(
        "S8 names that look alike",
        "ingest/kafka/collector_users.py",
        "return next((other for other in matches if other != user), None)",
        "return None",
        "tests/unit/ingest/kafka/test_collector_users.py",
    ),
    Guard(
        "S9 a token for Ray",
        "serve/bridge/ray_environment.py",
        '    "RAY_AUTH_MODE": "token",\n',
        '    "RAY_AUTH_MODE": "disabled",\n',
        "tests/demo/test_listeners.py::test_a_stranger_runs_no_code",
    ),
    Guard(
        "S9 the token's file",
        "serve/bridge/ray_environment.py",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644",
        "tests/unit/serve/bridge/test_ray_environment.py",
    ),
    Guard(
        "S9 Ray on the loopback",
        "serve/local/ray_cluster.py",
        '_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}',
        "_ON_LOOPBACK: dict[str, str] = {}",
        "tests/demo/test_listeners.py::test_nothing_is_open_to_other_machines",
    ),
    Guard(
        "S9 HAProxy's statistics on the loopback",
        f"{FRONT}/haproxy_config.py",
        "yield f\"{bind['bind']}127.0.0.1:{bind['port']}\"",
        "yield line",
        f"{FRONT_UNIT}/test_haproxy_config.py",
    ),
    Guard(
        "S10 ingest changes no frame",
        "ingest/store/schema/grants.py",
        '    "telemetry": "SELECT, INSERT",\n',
        '    "telemetry": "SELECT, INSERT, UPDATE, DELETE",\n',
        "tests/contract/test_database_roles.py::test_every_statement_beyond_a_roles_work_is_refused",
    ),
    Guard(
        "S10 the page only reads",
        "ingest/store/schema/grants.py",
        '        ),\n        "SELECT",\n',
        '        ),\n        "SELECT, INSERT",\n',
        "tests/contract/test_database_roles.py::test_every_statement_beyond_a_roles_work_is_refused",
    ),
    Guard(
        "S10 functions are nobody's",
        "ingest/store/schema/grants.py",
        '    _each(conn, "REVOKE ALL ON ROUTINE {} FROM PUBLIC", _routines(conn, _ROUTINES))\n',
        "",
        "tests/contract/test_database_roles.py::test_every_statement_beyond_a_roles_work_is_refused",
    ),
    Guard(
        "S10 roles that may do more",
        "ingest/store/schema/roles.py",
        "        refuse_strong_roles(conn)\n",
        "",
        "tests/contract/test_database_roles.py::test_a_role_that_may_do_more_is_refused",
    ),
    Guard(
        "S10 ingest erases deleted sessions only",
        "ingest/store/schema/deletion.sql",
        "    IF NOT FOUND THEN\n        RAISE",
        "    IF false THEN\n        RAISE",
        "tests/contract/test_database_roles.py"
        "::test_the_page_deletes_and_ingest_erases_only_what_is_deleted",
    ),
    Guard(
        "S10 nobody else deletes",
        "ingest/store/schema/deletion.sql",
        "EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', named);",
        "",
        f"{DELETIONS}::test_nobody_deletes_who_was_not_given_the_right",
    ),
    Guard(
        "S10 analysts read what is theirs",
        "ingest/store/schema/analyst_views.py",
        "SELECT t.id FROM {table} t\n WHERE t.user_id = current_user",
        "SELECT t.id FROM {table} t\n WHERE true",
        "tests/contract/test_database_roles.py::test_an_analyst_reads_nothing_of_another_user",
    ),
    Guard(
        "S10 conditions see no row of another",
        "ingest/store/schema/analyst_views.py",
        " WITH (security_barrier)",
        "",
        "tests/contract/test_database_roles.py::test_no_condition_of_an_analyst_sees_a_row_of_another",
    ),
    Guard(
        "S10 no password in a statement",
        "ingest/store/schema/roles.py",
        "sql.Literal(verifier.decode())",
        "sql.Literal(password)",
        "tests/contract/test_database_roles.py::test_a_password_is_sent_as_what_it_can_be_checked_by",
    ),
    Guard(
        "S10 REST writes nothing",
        "serve/bridge/rest/store_reader.py",
        " -c default_transaction_read_only=on",
        "",
        f"{REST}::test_store_is_read_with_limits_and_not_written",
    ),
    Guard(
        "S11 values are parameters",
        "analytics/store/queries.py",
        "cursor.execute(_SESSION_OF_KEY, where)",
        """cursor.execute(_SESSION_OF_KEY.replace("%(key)s", f"'{key}'"), where)""",
        "tests/service/test_database.py::test_a_hostile_key_is_only_a_key",
    ),
    Guard(
        "S11 a linter finds SQL put together",
        "pyproject.toml",
        '"S608", ',
        "",
        "tests/unit/test_repository.py::test_sql_that_is_put_together_is_found",
    ),
    Guard(
        "S12 answers in no cache",
        "serve/bridge/web_app.py",
        '_NOT_KEPT if scope["path"].startswith("/api/") else []',
        "[]",
        f"{PAGE}::test_answers_with_data_are_kept_in_no_cache",
    ),
    Guard(
        "S12 files below the page only",
        "serve/bridge/web_app.py",
        "StaticFiles(directory=PAGE,",
        "StaticFiles(directory=PAGE.parent,",
        f"{SOCKETS}::test_files_outside_the_page_and_lists_of_files_are_not_served",
    ),
    Guard(
        "S12 no page of another's scripts",
        "serve/bridge/web_app.py",
        ", docs_url=None, redoc_url=None",
        "",
        f"{SOCKETS}::test_files_outside_the_page_and_lists_of_files_are_not_served",
    ),
    Guard(
        "S12 in no frame",
        f"{FRONT}/headers.py",
        "; frame-ancestors 'none'",
        "",
        f"{SOCKETS}::test_answers_limit_what_a_browser_does_with_them",
    ),
    Guard(
        "S12 no sniffing",
        f"{FRONT}/headers.py",
        '        "x-content-type-options": "nosniff",\n',
        "",
        f"{SOCKETS}::test_answers_limit_what_a_browser_does_with_them",
    ),
    Guard(
        "S13 deletions are in the audit log",
        "serve/bridge/rest/changes.py",
        'self._note(audit, "session_deleted")',
        "pass",
        f"{CHANGES}::test_deleted_session_is_gone_and_leaves_its_hash",
    ),
    Guard(
        "S13 no token in a repr",
        f"{LIVE}/client_messages.py",
        "token: str = field(repr=False)",
        "token: str",
        "tests/unit/serve/bridge/live/test_client_messages.py",
    ),
    Guard(
        "S13 no credential in a log",
        f"{ACCESS}/login_check.py",
        'raise self.refuse(refused.reason, address, "socket") from None',
        'audit_refusal(token)\n            raise self.refuse(refused.reason, address, "socket")',
        f"{PAGE}::test_no_credential_is_in_a_log_or_an_answer",
    ),
    Guard(
        "S13 foreign text, for people",
        "ingest/logging_setup.py",
        "[_without_controls, structlog.dev",
        "[structlog.dev",
        "tests/unit/ingest/test_logging_setup.py",
    ),
    Guard(
        "S13 foreign text, for machines",
        "ingest/logging_setup.py",
        "structlog.processors.JSONRenderer()",
        "structlog.processors.KeyValueRenderer()",
        "tests/unit/ingest/test_logging_setup.py",
    ),
    Guard(
        "S13 no secret in what a test prints",
        "tests/conftest.py",
        'if places and report.outcome == "passed":',
        "if False:",
        "tests/unit/harness/test_canaries.py",
    ),
    Guard(
        "S14 health without a login",
        "serve/bridge/web_app.py",
        "if request.app.state.bridge.logins.required:",
        "if False:",
        f"{PAGE}::test_what_is_open_shows_no_data",
    ),
    Guard(
        "S14 no place of the store",
        "serve/bridge/rest/routes.py",
        '"" if _bridge_of(request).logins.required else f" at {error.address}"',
        'f" at {error.address}"',
        f"{SOCKETS}::test_answers_name_no_place_and_show_no_trace",
    ),
    Guard(
        "S14 no word of the store",
        "serve/bridge/rest/routes.py",
        '"the store is not as this version needs it" if hidden else str(error)',
        "str(error)",
        f"{SOCKETS}::test_answers_name_no_place_and_show_no_trace",
    ),
    Guard(
        "S14 no trace",
        "serve/bridge/web_app.py",
        'FastAPI(title="Purple Sector"',
        'FastAPI(debug=True, title="Purple Sector"',
        f"{SOCKETS}::test_answers_name_no_place_and_show_no_trace",
    ),
    Guard(
        "S14 nobody comes in without the keys",
        f"{ACCESS}/key_file.py",
        "raise NotAuthenticated(Refusal.KEYS_UNAVAILABLE)",
        "return Caller('anybody', 'operator')",
        f"{UNIT}/test_keys.py",
    ),
    Guard(
        "S15 rights of the key file",
        f"{ACCESS}/key_file.py",
        "if os.fstat(file.fileno()).st_mode & _OTHERS:",
        "if False:",
        f"{UNIT}/test_keys.py::test_file_that_others_may_open_lets_nobody_in",
    ),
    Guard(
        "S15 the key file is read again",
        f"{ACCESS}/key_file.py",
        "if (stamp := _stamp_of(self._path)) == self._stamp and stamp is not None:",
        "stamp = _stamp_of(self._path)\n        if self._stamp is not None:",
        f"{UNIT}/test_keys.py",
    ),
    Guard(
        "S15 no key in the file",
        f"{ACCESS}/keys.py",
        "return KeyEntry(name, role, sha256(key.encode()).hexdigest())",
        "return KeyEntry(name, role, key)",
        f"{UNIT}/test_keys.py",
    ),
    Guard(
        "S16 packages by hash",
        "Makefile",
        "with = --require-hashes ",
        "with = ",
        "tests/unit/test_repository.py::test_make_installs_by_hash_only",
    ),
    Guard(
        "S16 packages of nodes by hash",
        "cluster.yaml",
        "--require-hashes -r ~/purple-sector/requirements/aws.txt",
        "-r ~/purple-sector/requirements/aws.txt",
        "tests/service/test_cluster_config.py::test_every_install_checks_hashes",
    ),
    Guard(
        "S16 advice for root",
        "serve/local/system.py",
        "if user_id != 0:",
        "if True:",
        "tests/unit/serve/local/test_start_settings.py",
    ),
    Guard(
        "S17 nothing is unpickled",
        f"{LIVE}/client_messages.py",
        "import json\n",
        "import json\nimport pickle\n",
        "tests/unit/test_layers.py::test_nothing_from_outside_is_unpickled_or_run",
    ),
    Guard(
        "S18 no compression",
        f"{LIVE}/socket_limits.py",
        '    "ws_per_message_deflate": False,\n',
        "",
        f"{HOSTILE}[compressed]",
    ),
    Guard(
        "S19 letters of a kind",
        "ingest/store/dead_letters.py",
        "if counts[kind] < quota.per_kind and room:",
        "if room:",
        "tests/unit/ingest/store/test_dead_letters.py",
    ),
    Guard(
        "S19 letters in all",
        "ingest/store/dead_letters.py",
        "room = kept_bytes + size_bytes <= quota.max_bytes or counts[kind] < ALWAYS_KEPT",
        "room = True",
        "tests/unit/ingest/store/test_dead_letters.py",
    ),
    Guard(
        "S19 size of headers",
        "ingest/store/dead_letters.py",
        "> MOST_HEADER_BYTES",
        "> 10**9",
        "tests/unit/ingest/store/test_dead_letters.py",
    ),
    Guard(
        "S19 size of a letter",
        "ingest/batching/write_batch.py",
        "value[:_DEAD_LETTER_BYTES]",
        "value",
        "tests/unit/ingest/batching/test_write_batch.py",
    ),
    Guard(
        "S19 age of a letter",
        "ingest/store/dead_letters.py",
        "   AND seen_at < now() - make_interval(days => %s)\n",
        "   AND false AND %s::int IS NOT NULL\n",
        "tests/service/test_dead_letters.py::test_old_letters_make_room_for_new_ones",
    ),
    Guard(
        "S19 foreign bytes on a terminal",
        "serve/cli/dead_letters.py",
        'ascii(raw.decode(errors="backslashreplace"))[1:-1]',
        'raw.decode(errors="replace")',
        "tests/unit/ingest/store/test_dead_letters.py",
    ),
    Guard(
        "S1 TLS alone",
        f"{FRONT}/haproxy_config.py",
        'if rules["pem"] else ""',
        'if False else ""',
        f"{TLS}::test_without_tls_there_is_no_answer",
    ),
    Guard(
        "S1 TLS of 1.2 or later",
        f"{FRONT}/haproxy_config.py",
        "ssl-min-ver TLSv1.2",
        "ssl-min-ver TLSv1.0",
        f"{FRONT_UNIT}/test_haproxy_config.py",
    ),
    Guard(
        "S1 ciphers",
        f"{FRONT}/haproxy_config.py",
        " ciphers ECDHE-ECDSA-AES128-GCM-SHA256:",
        " ciphers ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:",
        f"{TLS}::test_old_versions_and_ciphers_are_refused",
    ),
    Guard(
        "S1 no page without its TLS",
        f"{FRONT}/haproxy_config.py",
        "if config and not any(",
        "if False and not any(",
        f"{FRONT_UNIT}/test_haproxy_config.py",
    ),
    Guard(
        "S1 no way around HAProxy",
        "serve/local/system.py",
        "deploy(kafka, database, serve, host=_LOOPBACK)",
        "deploy(kafka, database, serve)",
        "tests/demo/test_listeners.py::test_haproxy_alone_listens_where_the_setting_wants_it",
    ),
    Guard(
        "S1 rights of the TLS key",
        f"{FRONT}/certificates.py",
        "if mode & forbidden:",
        "if False:",
        f"{FRONT_UNIT}/test_certificates.py",
    ),
    Guard(
        "S1 key of the certificate",
        f"{FRONT}/certificates.py",
        "if certificates[0].public_key() == ours:",
        "if True:",
        f"{FRONT_UNIT}/test_certificates.py",
    ),
    Guard(
        "S1 expired certificate",
        f"{FRONT}/certificates.py",
        "if now >= own.not_valid_after_utc:",
        "if False:",
        f"{FRONT_UNIT}/test_certificates.py",
    ),
    Guard(
        "S1 last good certificate",
        f"{FRONT}/certificate_watch.py",
        "        except CertificateFault as fault:\n",
        "        except ZeroDivisionError as fault:\n",
        f"{FRONT_UNIT}/test_certificate_files.py",
    ),
    Guard(
        "S1 renewed certificate",
        f"{FRONT}/certificate_watch.py",
        "if changed or served[1] != pair.fingerprint:",
        "if False:",
        f"{TLS}::test_a_renewed_certificate_is_served_and_open_sockets_stay",
    ),
    Guard(
        "S1 HSTS",
        f"{FRONT}/headers.py",
        "if hsts_days:",
        "if False:",
        f"{FRONT_UNIT}/test_front.py",
    ),
    Guard(
        "S2 proxies in front",
        f"{FRONT}/proxies.py",
        "trusted = self._is_in_front(address)",
        "trusted = True",
        f"{FRONT_UNIT}/test_proxies.py",
    ),
    Guard(
        "S7 connections of an address",
        f"{FRONT}/haproxy_config.py",
        '("sc0_conn_cur", rules["connections"]),',
        "",
        f"{TLS}::test_an_address_has_so_many_connections_and_others_find_room",
    ),
    Guard(
        "S7 handshakes of TLS",
        f"{FRONT}/haproxy_config.py",
        '("sc0_conn_rate", rules["connections_per_s"] * _WINDOW_S),',
        "",
        f"{TLS}::test_an_address_opens_so_many_connections_a_second",
    ),
    Guard(
        "S7 half a handshake of TLS",
        f"{FRONT}/haproxy_config.py",
        "yield f\"    timeout client {rules['idle_s']}s\"",
        'yield "    timeout client 3600s"',
        f"{TLS}::test_half_a_handshake_and_half_a_head_end_in_the_time_that_is_set",
    ),
    Guard(
        "S7 half a head",
        f"{FRONT}/haproxy_config.py",
        "yield f\"    timeout http-request {rules['idle_s']}s\"",
        'yield "    timeout http-request 3600s"',
        f"{TLS}::test_half_a_handshake_and_half_a_head_end_in_the_time_that_is_set",
    ),
    Guard(
        "S12 headers of HAProxy's answers",
        f"{FRONT}/haproxy_config.py",
        'for name, value in rules["headers"].items():',
        "for name, value in ():",
        f"{TLS}::test_each_answer_has_the_safe_headers_once",
    ),
)


def copy_of(files: Path) -> None:
    """Copy the tracked files, as they are here."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (files / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, files / name)


def passes(files: Path, test: str) -> bool:
    """Whether the test passes on these files."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    environment = os.environ | {"PYTHONPATH": str(files), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [*command, "--timeout", "200"], cwd=files, env=environment, capture_output=True, check=False
    )
    return ran.returncode == 0


def verdict(files: Path, guard: Guard) -> str:
    """Whether the guard is held: by a test that passes with it, and fails without it."""
    path = files / guard.file
    whole = path.read_text(encoding="utf-8")
    if whole.count(guard.text) != 1:
        return "MOVED"
    path.write_text(whole.replace(guard.text, guard.without), encoding="utf-8")
    try:
        return "NOT HELD" if passes(files, guard.test) else "held"
    finally:
        path.write_text(whole, encoding="utf-8")


def main(only: list[str]) -> int:
    """Print a line a guard; ``only`` selects those whose line has one of the words."""
    with tempfile.TemporaryDirectory(prefix="purple-sector-guards-") as folder:
        files = Path(folder)
        copy_of(files)
        chosen = [one for one in GUARDS if not only or any(word in one.line for word in only)]
        broken = [t for t in sorted({one.test for one in chosen}) if not passes(files, t)]
        sys.stdout.writelines(f"FAILS WITH ITS GUARD  {test}\n" for test in broken)
        failed = bool(broken)
        for guard in chosen:
            found = verdict(files, guard)
            failed |= found != "held"
            sys.stdout.write(f"{found:<10}{guard.line:<34}{guard.test}\n")
            sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
