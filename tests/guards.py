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
ACCESS = "serve/bridge/access"
LIVE = "serve/bridge/live"


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
        "1 no open port",
        f"{ACCESS}/logins.py",
        "if not is_loopback(serve.host):",
        "if False:",
        f"{UNIT}/test_logins.py::test_no_login_is_for_the_loopback_only",
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
        "S6 rights",
        f"{ACCESS}/policy.py",
        "return caller.role in _READ_ALL or _owns(caller, owner)",
        "return True or _owns(caller, owner)",
        f"{UNIT}/test_policy.py",
    ),
    Guard(
        "S6 unknown owner",
        f"{ACCESS}/policy.py",
        "return bool(owner) and caller.name == owner",
        "return caller.name == owner",
        f"{UNIT}/test_policy.py",
    ),
    Guard(
        "S6 list of sessions",
        "serve/bridge/rest/guarded.py",
        "queries.sessions(conn, owners=self._owners, **where)",
        "queries.sessions(conn, **where)",
        f"{PAGE}::test_caller_finds_the_sessions_that_it_may_read",
    ),
    Guard(
        "S6 one session",
        "serve/bridge/rest/guarded.py",
        "self._store.query(lambda conn: queries.session(conn, key, owners=self._owners))",
        "self._store.query(lambda conn: queries.session(conn, key))",
        f"{PAGE}::test_foreign_and_missing_sessions_get_the_same_answer",
    ),
    Guard(
        "S6 what a session has",
        "serve/bridge/rest/guarded.py",
        "            queries.session(conn, key, owners=self._owners)\n            return run(conn)",
        "            return run(conn)",
        f"{PAGE}::test_foreign_and_missing_sessions_get_the_same_answer",
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
        "tuple(viewer for viewer in viewers if may_read(viewer.caller, user))",
        "tuple(viewers)",
        f"{PAGE}::test_frames_go_to_those_who_may_read_them",
    ),
    Guard(
        "S6 facts for one who comes late",
        f"{LIVE}/hub.py",
        "if not may_read(viewer.caller, session.user):",
        "if False:",
        "tests/unit/serve/bridge/live/test_hub.py",
    ),
    Guard(
        "S6 renewal keeps the name",
        f"{LIVE}/websocket.py",
        "if caller.name != self.caller.name:",
        "if False:",
        f"{PAGE}::test_login_is_renewed_in_place_and_keeps_its_name",
    ),
    Guard(
        "S7 sockets of a name",
        f"{ACCESS}/admission.py",
        "if name and self._callers[name] >= self.limits.sockets_per_caller:",
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
        "S12 answers in no cache",
        "serve/bridge/web_app.py",
        '_NOT_KEPT if scope["path"].startswith("/api/") else []',
        "[]",
        f"{PAGE}::test_answers_with_data_are_kept_in_no_cache",
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
        "S14 health without a login",
        "serve/bridge/web_app.py",
        "if request.app.state.bridge.logins.required:",
        "if False:",
        f"{PAGE}::test_what_is_open_shows_no_data",
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
        [*command, "--timeout", "100"], cwd=files, env=environment, capture_output=True, check=False
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
