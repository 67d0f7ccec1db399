"""Imported by Ray's workers of `up` before anything else: it keeps pandas out of them.

`import ray.serve` imports pandas where it is installed, and only to encode data frames, of which the page has none. That took
0.45 s of CPU (of 1.9) in each of the controller, two proxies and the replica.
"""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_modules.setdefault("pandas", None)
