"""The task of language."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from jaxor.experiments.language import characters, text
from jaxor.experiments.registry import ExperimentError

ALPHABET = np.array(list(" !',-.:;?abcdefghijklmnopqrstuvwxyz"))


def test_the_text() -> None:
    assert text().startswith(
        "chapter i down the rabbit-hole alice was beginning to get very tired of sitting by her sister"
    )
    assert text().endswith("and taking not the smallest notice of her or of anything else.")
    assert sorted(set(text())) == ALPHABET.tolist()
    assert "  " not in text()


def test_windows_and_what_follows() -> None:
    task = characters(window=20, points=50)
    assert (task.inputs.dtype, task.targets.shape) == (np.int32, (50, 20, 35))
    following = task.targets.argmax(-1)
    assert_array_equal(task.targets.sum(-1), 1)
    assert_array_equal(following[:, :-1], task.inputs[:, 1:])
    read = ["".join(ALPHABET[row]) for row in np.column_stack([task.inputs, following[:, -1]])]
    starts = [place * (len(text()) - 21) // 49 for place in range(50)]
    assert read == [text()[start : start + 21] for start in starts]


@pytest.mark.parametrize(("options", "message"), [
    ({"window": 0}, "window must be positive, got 0"),
    ({"points": 0}, "points must be between 1 and the 44978 windows of the text, got 0"),
    ({"points": 44_979}, "points must be between 1 and the 44978 windows of the text, got 44979"),
    ({"window": 45_010}, "points must be"),
])  # fmt: skip
def test_impossible_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        characters(**options)
