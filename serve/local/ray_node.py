"""Starts Ray's node without the processes that nothing here uses.

With ``include_dashboard=False`` Ray 2.60 still starts an autoscaler's monitor, a log monitor and a
dashboard that only counts usage. It also gives its agent an HTTP server. This takes 3.3 s of CPU at
each start, and makes listeners on 44217, 44227 and 52365. Only options of ``ray start`` turn them
off, but ``ray start`` leaves its processes behind.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")


@contextmanager
def without_unused_processes() -> Iterator[None]:
    """Start Ray in this block without the unused processes. A Ray version with other names still
    starts them.
    """
    import ray._private.node as node
    import ray._private.utils as utils

    with ExitStack() as stack:
        for method in _UNUSED:
            _replace(stack, node.Node, method, _start_nothing)
        # Without the dashboard's packages, Ray expects only the agent whose end also ends the
        # raylet.
        _replace(stack, utils, "get_dashboard_dependency_error", lambda: ImportError("not used"))
        yield


@contextmanager
def pandas_left_out() -> Iterator[None]:
    """Allow `ray.serve` to be imported in this block without pandas.

    `serve.bridge.without_pandas` does the same for a whole process.
    """
    modules: dict[str, Any] = sys.modules
    imported = "pandas" in modules
    modules.setdefault("pandas", None)
    try:
        yield
    finally:
        if not imported:
            del modules["pandas"]


def _replace(stack: ExitStack, owner: Any, name: str, stand_in: Any) -> None:
    original = getattr(owner, name, None)
    if original is not None:
        setattr(owner, name, stand_in)
        stack.callback(setattr, owner, name, original)


def _start_nothing(node: Any, **_: Any) -> None:
    """Replace a method that starts a process, and start none."""
    node._webui_url = None
