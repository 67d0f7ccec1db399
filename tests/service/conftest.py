"""Services that more than one module of tests uses."""

from tests.service.secured import secured
from tests.service.test_interop_lag import tools

__all__ = ["secured", "tools"]
