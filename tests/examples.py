"""How many examples Hypothesis tries: a part of them, and all with ``--full``."""

from __future__ import annotations

import os

ALL = "JAXOR_TEST_ALL_EXAMPLES"
"""Set by the option, so that the processes of pytest-xdist know it too."""


def examples(many: int) -> int:
    """All of so many, or a third."""
    return many if ALL in os.environ else -(-many // 3)
