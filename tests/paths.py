"""Where things are: the checkout, and the shared recordings beside it, which a clone elsewhere
lacks.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
