"""Start Ray's node without the processes that nothing here uses.

With ``include_dashboard=False`` Ray 2.60 still starts an autoscaler's monitor, a log monitor and a dashboard that only counts usage, and
gives its agent an HTTP server: 3.3 s of CPU at each start, and listeners on 44217, 44227 and 52365. Ray has no setting for
them but options of ``ray start``, which leaves its processes behind.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")


@contextmanager
def without_unused_processes() -> Iterator[None]:
    """Leave them out of the Ray that is started in this block. Where another version has other names, it starts them."""
    import ray._private.node as node
    import ray._private.utils as utils

    with ExitStack() as stack:
        for method in _UNUSED:
            _replace(stack, node.Node, method, _start_nothing)
        # Of an installation without the dashboard's packages Ray expects no more than the agent that its raylet ends with.
        _replace(stack, utils, "get_dashboard_dependency_error", lambda: ImportError("not used"))
        yield


@contextmanager
def pandas_left_out() -> Iterator[None]:
    """Let `ray.serve` be imported in this block without pandas, as serve/bridge/without_pandas.py does for a whole process."""
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
    """Stand in for a method that starts a process."""
    node._webui_url = None
