"""Parses passwords of logins from a file or the standard input. A command line would show them to
every user of the machine.
"""

from ingest.errors import PurpleSectorError

FEWEST_CHARACTERS = 16


def parse_passwords(text: str) -> dict[str, str]:
    """Return the password of each login, from one ``LOGIN=password`` a line.

    Raises PurpleSectorError, which names the line and shows no password.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, equals, password = line.partition("=")
        if not (equals and name.strip()):
            raise PurpleSectorError(f"passwords, line {number}: want LOGIN=password")
        if len(password) < FEWEST_CHARACTERS or "\0" in password:
            raise PurpleSectorError(
                f"passwords, line {number}: want {FEWEST_CHARACTERS} characters or more"
            )
        found[name.strip()] = password
    return found
