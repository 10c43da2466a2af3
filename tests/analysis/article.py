"""The article's own rows, as its code made them; see tests/data/README.md."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

PARAM_NAMES = ("linear1.weight[0,0]", "linear1.weight[0,1]", "linear1.bias[0]")


@cache
def rows() -> dict[str, Any]:
    """Features X, targets y, parameters `initial` and `final`, and the `run` of each of 3,345 rows."""
    with np.load(Path(__file__).parents[1] / "data" / "regression" / "abs1_regression_dataset.npz") as file:
        return dict(file)


def pairs() -> np.ndarray:
    """States and references side by side."""
    return np.hstack([rows()["initial"], rows()["final"]])
