"""A position made continuous along a lap, by the table of cases that the page's own unwrapping is
held to as well.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.laps.unwrapping import lap_share

CASES = json.loads((Path(__file__).parent / "unwrapping.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_share_of_the_lap(case: dict[str, Any]) -> None:
    position = np.array(case["position"], np.float32)
    where = {name: case[name] for name in ("line", "begun", "ended") if name in case}

    assert lap_share(position, **where) == pytest.approx(case["share"], abs=1e-6)


def test_no_frames_have_no_share() -> None:
    assert len(lap_share(np.array([]))) == 0
