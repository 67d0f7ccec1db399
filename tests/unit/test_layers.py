"""Imports go down only: serve, then ingest, then analytics; and few files know Ray.

The source is read, not imported: an import inside a function counts as much as one at the top.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("analytics", "ingest", "serve")

# Where plain classes and functions are deployed as actors, applications and tasks.
MAY_IMPORT_RAY = {
    "analytics/fleet/ray_data.py",
    "ingest/workers/supervisor.py",
    "serve/bridge/deployment.py",
    "serve/local/system.py",
    "serve/local/ray_cluster.py",
    "serve/local/ray_node.py",
}

# A game PC has these and the standard library.
COLLECTORS_MAY_IMPORT = {
    "confluent_kafka",
    "google.protobuf",
    "structlog",
    "analytics.model.game_conventions",
    "analytics.model.limits",
    "ingest.codec.blanking",
    "ingest.backoff",
    "ingest.collectors",
    "ingest.errors",
    "ingest.codec.timestamps",
    "ingest.settings",
    "ingest.telemetry_pb2",
    "ingest.kafka.topics",
}
# What a module that calls itself pure may not reach: databases, brokers, networks, processes,
# threads and clocks of its own.
IMPURE = {
    "asyncio",
    "confluent_kafka",
    "fastapi",
    "psycopg",
    "psycopg_pool",
    "ray",
    "socket",
    "subprocess",
    "threading",
    "urllib.request",
    "uvicorn",
}
NOT_ON_A_GAME_PC = {"ray", "pyarrow", "numpy", "pandas", "psycopg", "fastapi"}


def _sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@dataclass(frozen=True, slots=True)
class Source:
    """What is asked of a file. Its tree is not kept: those of all files are half a million
    objects.
    """

    imports: frozenset[str]
    environment: tuple[str, ...]  # read at import


@cache
def _source(path: Path) -> Source:
    tree = _tree(path)
    read = (ast.unparse(node) for node in run_at_import(tree) if reads_environment(node))
    return Source(frozenset(imported(tree)), tuple(read))


def imported(tree: ast.Module) -> set[str]:
    """Every module that the source names in an import; ``from a import b`` counts as ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def _imports(path: Path) -> frozenset[str]:
    return _source(path).imports


def _importing(packages: set[str], paths: Iterable[Path]) -> set[tuple[str, str]]:
    """Which of the files import from the packages, and what."""
    return {
        (_name(path), name) for path in paths for name in _imports(path) if within(name, packages)
    }


def within(name: str, packages: set[str]) -> bool:
    """Whether ``name`` is one of the packages, or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: all but the bodies of functions."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            for outside in (
                *child.decorator_list,
                *child.args.defaults,
                *filter(None, child.args.kw_defaults),
            ):
                yield from run_at_import(outside)
        elif not isinstance(child, ast.Lambda):
            yield from run_at_import(child)


def reads_environment(node: ast.AST) -> bool:
    names = {"environ", "getenv"}
    if isinstance(node, ast.Attribute):
        return node.attr in names and isinstance(node.value, ast.Name) and node.value.id == "os"
    return isinstance(node, ast.Name) and node.id in names


@cache
def _below(path: Path) -> frozenset[Path]:
    """The files of our packages among what it imports."""
    names = _imports(path)
    stems = [
        ROOT.joinpath(*part) for name in names for part in (name.split("."), name.split(".")[:-1])
    ]
    return frozenset(
        stem.with_suffix(".py") for stem in stems if stem.name and stem.with_suffix(".py").is_file()
    )


def reachable(start: Path) -> set[Path]:
    """The file and all of ours that importing it may import in turn."""
    found: set[Path] = set()
    ahead = {start}
    while ahead:
        found |= ahead
        ahead = {below for path in ahead for below in _below(path)} - found
    return found


def test_analytics_knows_nothing_above_it() -> None:
    assert (
        _importing({"ingest", "serve", "confluent_kafka", "socket"}, _sources("analytics")) == set()
    )


def test_ingest_knows_no_viewers() -> None:
    assert _importing({"serve"}, _sources("ingest")) == set()


def test_few_files_know_ray() -> None:
    others = [path for path in _sources(*PACKAGES) if _name(path) not in MAY_IMPORT_RAY]
    assert _importing({"ray"}, others) == set()


def test_a_notebook_gets_no_ray() -> None:
    """Who times a fleet on Ray names the file that does it; nothing else of analytics leads
    there.
    """
    assert _importing({"analytics.fleet.ray_data"}, _sources("analytics")) == set()


def test_serve_means_ours() -> None:
    """``from ray import serve`` would make two things of one name."""
    from_imports = [
        (_name(path), f"{node.module}.{alias.name}")
        for path in _sources("serve")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert [each for each in from_imports if each[1] == "ray.serve"] == []


def test_collectors_import_what_a_game_pc_has() -> None:
    allowed = COLLECTORS_MAY_IMPORT | sys.stdlib_module_names
    named = {
        (_name(path), name) for path in _sources("ingest/collectors") for name in _imports(path)
    }
    assert {(where, name) for where, name in named if not within(name, allowed)} == set()


def test_collectors_reach_no_cluster_library() -> None:
    """Not through the modules that they import either."""
    reached = set().union(*map(reachable, _sources("ingest/collectors")))
    assert _importing(NOT_ON_A_GAME_PC, reached) == set()


def test_importing_reads_no_environment() -> None:
    """Settings are read at the edge, once; a module means the same wherever it is imported."""
    read = {_name(path): _source(path).environment for path in _sources(*PACKAGES)}
    assert {path: names for path, names in read.items() if names} == {}


# What makes objects, or runs code, from bytes. Ray does that behind its token.
RUNS_WHAT_IT_READS = {"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve", "yaml"}
RUNNING = {"eval", "exec", "read_pickle", "allow_pickle"}


def names_in(tree: ast.Module) -> Iterator[str]:
    """Names of what is called, and of arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            yield node.arg or ""
        elif isinstance(node, ast.Call):
            called = node.func
            yield called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def test_nothing_from_outside_is_unpickled_or_run() -> None:
    """Not even imported: protobuf, JSON and Arrow hold values only."""
    assert _importing(RUNS_WHAT_IT_READS, _sources(*PACKAGES)) == set()
    assert [
        (_name(path), name)
        for path in _sources(*PACKAGES)
        for name in sorted(RUNNING.intersection(names_in(_tree(path))))
    ] == []


@pytest.mark.parametrize(
    "text", ["eval(x)", "np.load(f, allow_pickle=True)", "pandas.read_pickle(f)", "exec(x)"]
)
def test_what_runs_is_recognised(text: str) -> None:
    assert RUNNING.intersection(names_in(ast.parse(text)))


def calls_itself_pure(path: Path) -> bool:
    return (
        re.search(r"\bPure\b|module\s+is\s+pure", ast.get_docstring(_tree(path)) or "") is not None
    )


def test_a_module_that_calls_itself_pure_reaches_no_database_network_or_thread() -> None:
    """Not through the modules that it imports either, and not in its functions."""
    impure = {
        _name(path): _importing(IMPURE, reachable(path))
        for path in _sources(*PACKAGES)
        if calls_itself_pure(path)
    }
    assert len(impure) > 40
    assert {name: found for name, found in impure.items() if found} == {}


@pytest.mark.parametrize("package", ["ingest", "serve"])
def test_packages_import_nothing_by_themselves(package: str) -> None:
    """A game PC imports from ``ingest`` without what a cluster has."""
    assert _imports(ROOT / package / "__init__.py") == frozenset()


def test_the_reader_sees_lazy_imports_and_default_arguments() -> None:
    lazy = ast.parse(
        "def f(now=os.getenv('NOW')):\n    from ray import get\n    return os.environ\n"
    )

    assert imported(lazy) == {"ray.get"}
    assert [ast.unparse(node) for node in run_at_import(lazy) if reads_environment(node)] == [
        "os.getenv"
    ]
