"""The rule by which a loss counts as below a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np


def at_least(threshold: float, dtype: Any) -> np.floating[Any]:
    """The smallest normal number of a float type that is not below the threshold.

    With it the test ``loss < threshold`` is that of real numbers, for losses that are normal numbers or 0: XLA:CPU
    takes smaller ones for 0.

    Examples
    --------
    >>> float(at_least(0.5000000001, np.float32)), float(at_least(1e-50, np.float32))
    (0.5000000596046448, 1.1754943508222875e-38)
    """
    floats = np.dtype(dtype).type
    rounded = floats(threshold)
    if float(rounded) < threshold:
        rounded = np.nextafter(rounded, floats(np.inf))
    return max(rounded, np.finfo(floats).tiny)
