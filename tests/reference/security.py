"""Generate the table of security checks from the guards that ``make guards`` takes out."""

from collections.abc import Iterator

from tests.guards import GUARDS, Guard
from tests.reference.markdown import code, table

PROMISES = {
    "S1": "An open port is a decision: it needs logins, and TLS here or in a proxy.",
    "S2": "A browser's page from elsewhere reaches neither REST nor sockets.",
    "S3": "Each socket and each request for data proves its caller, in time and outside the URL.",
    "S4": "Only a token of the right issuer, for this page, of this time, lets somebody in.",
    "S5": "A record is stored and shown as its writer's, and never as another user's.",
    "S6": "A caller reads what is its own or shared with it; the rest looks as if there were none.",
    "S7": "Nobody uses so much that others find no room.",
    "S8": "Kafka grants each user its own work alone.",
    "S9": "Nobody else runs code in Ray: it asks for a token, and listens on the loopback.",
    "S10": "Each part has a database role that can do its work and nothing more.",
    "S11": "What somebody sends is a value of a statement, never a part of it.",
    "S12": "The page's files are all that is served, and a browser is told how to treat them.",
    "S13": "A log shows who came in and who was refused, no secret, and no line of a client's.",
    "S14": "An error shows a client neither the machinery nor its places, and lets nobody in.",
    "S15": "A secret lies in a file of its user, and nowhere else.",
    "S16": "Processes have no more rights than they need, and packages are the tested ones.",
    "S17": "What comes from outside is parsed as data, never as objects.",
    "S18": "Sockets do not compress.",
    "S19": "Records that cannot be stored stay bounded, and harm nobody who looks at them.",
}


def checks() -> str:
    """Return a table of the checks for each promise: what, where, and the test that needs it."""
    return "\n\n".join(_part(line, promise) for line, promise in PROMISES.items())


def _part(line: str, promise: str) -> str:
    rows = [_row(guard) for guard in of_line(line)]
    return f"**{line}.** {promise}\n\n{table(('check', 'where', 'test'), rows)}"


def of_line(line: str) -> Iterator[Guard]:
    """Yield the guards of a line, ``S1`` to ``S19``."""
    yield from (guard for guard in GUARDS if guard.line.partition(" ")[0] == line)


def _row(guard: Guard) -> tuple[str, str, str]:
    name = guard.line.partition(" ")[2]
    return name, code(guard.file), code(guard.test.partition("[")[0])
