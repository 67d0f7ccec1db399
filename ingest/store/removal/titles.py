"""Checks the titles that people give their sessions. Pure."""

from ingest.errors import PurpleSectorError

LONGEST_TITLE = 100


class InvalidTitle(PurpleSectorError):
    """Raised for a title that no list could show."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"title: {problem}")


def checked_title(text: str) -> str:
    """Return a title without spaces around it; empty means none. Raises InvalidTitle."""
    title = text.strip()
    if len(title) > LONGEST_TITLE:
        raise InvalidTitle(f"want at most {LONGEST_TITLE} characters, not {len(title)}")
    if not title.isprintable():
        raise InvalidTitle("want printable characters on one line")
    return title
