"""Print the figures of the house style: shapes of functions, docstrings, words, names, packages,
README, commits.

``python -m tests.style`` prints a table with a limit for each figure, and ends with 1 where one is
exceeded. It counts the packages that are shipped; generated code is left out.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

PACKAGES = ("analytics", "ingest", "serve")
#: A docstring that begins with one of these is a fragment, not a sentence.
FRAGMENTS = re.compile(
    r"(Of|With|What|Those|These|The"
    r" same|Where|As|All|Who|Whoever|Whether|How|Which|In|To|From|By|That)\b"
)
METAPHORS = re.compile(
    r"\b(told|tells?|telling|says?|said|saying|hears?|heard|hearing|asks?|asked|asking)\b",
    re.IGNORECASE,
)
#: Words that no identifier may hold: a standard term of the field stands for each.
METAPHORS_IN_NAMES = frozenset(
    re.findall(
        r"\w+",
        "tell tells telling told untold say says saying said ask asks asking asked "
        "hear hears hearing heard unheard heed heeds staff hire hires hired dismiss "
        "dismisses dismissed farewell obey obeys obeying understand understands "
        "understood happening happenings course courses stretch stretches anew news "
        "complain complains complained radio",
    )
)
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_FIRST_COMMIT = "622aa62"

Function = ast.FunctionDef | ast.AsyncFunctionDef
#: The nodes of a file's syntax tree.
Nodes = list[ast.AST]
#: The fields in which nodes have identifiers: names, attributes, parameters, keywords, imports.
_NAME_FIELDS = ("id", "attr", "arg", "name", "asname", "module")


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value and the limit that it must not exceed. ``worst`` names where it comes
    from.
    """

    name: str
    value: float
    limit: float
    worst: str = ""

    @property
    def exceeded(self) -> bool:
        return self.value > self.limit


def sources() -> list[Path]:
    """Return the Python files that are shipped, without generated ones."""
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "_pb2" not in path.name
    ]


def function_lines(node: Function) -> int:
    """Count the lines of a function without its docstring, decorators and signature."""
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1


def documented(nodes: Nodes) -> Iterator[tuple[str, str]]:
    """Yield name and docstring of every class and function that has one."""
    for node in nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield node.name, text


def prose(path: Path, nodes: Nodes) -> str:
    """Return all docstrings and comments of a file."""
    module = next(node for node in nodes if isinstance(node, ast.Module))
    texts = [ast.get_docstring(module) or "", *(text for _, text in documented(nodes))]
    comments = re.findall(r"(?m)(?:^|\s)#:? (.*)$", path.read_text(encoding="utf-8"))
    return "\n".join([*texts, *comments])


def measure() -> list[Figure]:
    """Measure everything but the commits."""
    # Walked once: half of the time is the walk.
    trees = {path: list(ast.walk(ast.parse(path.read_text("utf-8")))) for path in sources()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return [
        *_of_functions(trees),
        *_of_words(trees),
        _of_classes(trees),
        _of_identifiers(trees),
        _of_packages(trees),
        Figure("README lines", readme.count("\n"), 120),
        Figure("README words", len(readme.split()), 1_000),
    ]


def subjects(since: str = _FIRST_COMMIT) -> Figure:
    """Measure the longest subject of the commits since ``since``; 0 where there is no history."""
    done = subprocess.run(
        ["git", "log", "--format=%s", f"{since}..HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    longest = max(done.stdout.splitlines(), key=len, default="")
    return Figure("longest commit subject", len(longest), 72, longest)


def _of_functions(trees: dict[Path, Nodes]) -> list[Figure]:
    lines = sorted(
        (function_lines(node), f"{path.relative_to(ROOT)}:{node.name}")
        for path, nodes in trees.items()
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [
        Figure("function lines, p90", lines[int(0.9 * len(lines))][0], 12),
        Figure("function lines, longest", *_limited(lines[-1], 40)),
    ]


def _limited(found: tuple[int, str], limit: int) -> tuple[int, int, str]:
    return found[0], limit, found[1]


def _of_words(trees: dict[Path, Nodes]) -> list[Figure]:
    fragments = [
        f"{path.relative_to(ROOT)}:{name}"
        for path, nodes in trees.items()
        for name, text in documented(nodes)
        if FRAGMENTS.match(text)
    ]
    words, metaphors = 0, Counter[str]()
    for path, nodes in trees.items():
        text = prose(path, nodes)
        words += len(_WORD.findall(text))
        metaphors[str(path.relative_to(ROOT))] += len(METAPHORS.findall(text))
    worst = ", ".join(f"{name} {count}" for name, count in metaphors.most_common(3))
    return [
        Figure("docstrings that are fragments", len(fragments), 0, ", ".join(fragments[:3])),
        Figure(
            "told, tell, say, hear, ask per 1,000 words",
            round(1_000 * metaphors.total() / words, 2),
            0.5,
            worst,
        ),
    ]


def _of_classes(trees: dict[Path, Nodes]) -> Figure:
    names = Counter(
        node.name for nodes in trees.values() for node in nodes if isinstance(node, ast.ClassDef)
    )
    twice = sorted(name for name, count in names.items() if count > 1)
    return Figure("class names that exist twice", len(twice), 0, ", ".join(twice))


def name_words(identifier: str) -> set[str]:
    """Return the words of an identifier in snake_case or CamelCase, in small letters."""
    return {word.lower() for word in _NAME_PART.findall(identifier)}


def _of_identifiers(trees: dict[Path, Nodes]) -> Figure:
    """Count the identifiers that hold a metaphor, each once per file."""
    found = [
        f"{path.relative_to(ROOT)}:{name}"
        for path, nodes in trees.items()
        for name in sorted(identifiers(nodes))
        if name_words(name) & METAPHORS_IN_NAMES
    ]
    return Figure("identifiers with metaphors", len(found), 0, ", ".join(found[:3]))


def identifiers(nodes: Nodes) -> set[str]:
    """Return the identifiers of a Python source, with those inside f-strings."""
    named = (getattr(node, field, None) for node in nodes for field in _NAME_FIELDS)
    return {name for name in named if isinstance(name, str)}


def _of_packages(trees: dict[Path, Nodes]) -> Figure:
    modules = Counter(
        str(path.parent.relative_to(ROOT)) for path in trees if path.name != "__init__.py"
    )
    (largest, count), *_ = modules.most_common(1)
    return Figure("largest package, modules", count, 13, largest)


def main() -> int:
    """Print the table; return 1 where a limit is exceeded."""
    figures = [*measure(), subjects()]
    for figure in figures:
        mark = "over" if figure.exceeded else "ok"
        sys.stdout.write(
            f"{figure.name:<44}{figure.value:>8g}  limit"
            f" {figure.limit:<6g}{mark:<5}{figure.worst}\n"
        )
    return int(any(figure.exceeded for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
