"""What a Ray of ours starts, and what its workers import: names that Ray may change in any
version.
"""

import subprocess
import sys

import ray._private.node
import ray._private.utils

from serve.local.ray_node import pandas_left_out, without_unused_processes

NODE = ray._private.node.Node
METHODS = ("start_monitor", "start_log_monitor", "start_api_server")


def test_ray_starts_the_unused_processes_by_the_methods_that_are_replaced():
    before = [getattr(NODE, method) for method in METHODS]

    with without_unused_processes():
        assert len({getattr(NODE, method) for method in METHODS}) == 1
        assert not {getattr(NODE, method) for method in METHODS} & set(before)
        assert isinstance(ray._private.utils.get_dashboard_dependency_error(), ImportError)

    assert [getattr(NODE, method) for method in METHODS] == before


def test_ray_serve_is_imported_without_pandas_where_a_worker_is_reported_so():
    script = (
        "import serve.bridge.without_pandas, ray.serve, sys; print(sys.modules['pandas'],"
        " 'pandas.core' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["None", "False"], done.stderr


def test_pandas_can_be_imported_again_afterwards():
    imported = sys.modules.get("pandas")

    with pandas_left_out():
        assert sys.modules["pandas"] is imported

    assert sys.modules.get("pandas") is imported
    assert imported is not None or "pandas" not in sys.modules
