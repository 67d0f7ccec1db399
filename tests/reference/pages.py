"""Find the generated pages, and write or compare them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.paths import ROOT
from tests.reference import channels, cli, rest, security, settings, tables, websocket, wire
from tests.reference.markdown import replaced

FOLDER = ROOT / "docs" / "reference"
ENV_EXAMPLE = ROOT / ".env.example"

#: The generated parts by name. None needs a service.
PARTS: dict[str, Callable[[], str]] = {
    "overview of commands": cli.overview,
    "commands": cli.commands,
    "settings": settings.tables,
    "viewer messages": websocket.messages,
    "close codes": websocket.close_codes,
    "viewer limits": websocket.limits,
    "routes": rest.routes,
    "answers": rest.types,
    "wire messages": wire.messages,
    "channels": channels.channels,
    "store tables": tables.tables,
    "security checks": security.checks,
}


def pages() -> list[Path]:
    """Return the pages of the reference."""
    return sorted(FOLDER.glob("*.md"))


def generated(parts: dict[str, Callable[[], str]] = PARTS) -> Iterator[tuple[Path, str]]:
    """Yield each file with the text that the code gives it now."""
    yield ENV_EXAMPLE, settings.env_example()
    for page in pages():
        yield page, replaced(page.read_text(encoding="utf-8"), parts)
