"""Language by the character: windows of a text that comes with jaxor.

``jaxor/data/alice.txt`` is chapters I to IV of Lewis Carroll's *Alice's Adventures in Wonderland* (1865), which is in
the public domain, after the Millennium Fulcrum Edition 2.9 of Project Gutenberg (``alice29.txt`` of the Canterbury
corpus); ornaments, indents and marks of emphasis are left out.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import numpy as np

from jaxor.experiments.registry import require
from jaxor.experiments.task import TASKS, Task, argmax_accuracy


@cache
def text() -> str:
    """The text in lower case, of letters, single spaces and ``!',-.:;?`` alone.

    Examples
    --------
    >>> text()[31:73], len(text()), len(set(text()))
    ('alice was beginning to get very tired of s', 45010, 35)
    """
    written = resources.files("jaxor").joinpath("data", "alice.txt").read_text("utf-8")
    return re.sub("[^a-z!',.:;?-]+", " ", written.lower()).strip()


@TASKS.register("characters")
def characters(*, window: int = 32, points: int = 1024) -> Task:
    """Windows of Alice's Adventures in Wonderland, as numbers of characters; the next characters one-hot.

    Inputs (points, window) int32, targets (points, window, 35): at each character the one that follows, one-hot in
    the alphabet of the text, sorted. The windows begin at places as evenly spaced through the text as can be.
    """
    require(window > 0, "window", "positive", window)
    last = len(text()) - window - 1
    require(0 < points <= last + 1, "points", f"between 1 and the {last + 1} windows of the text", points)
    return _characters(window, points)


@cache
def _characters(window: int, points: int) -> Task:
    alphabet, numbers = np.unique(list(text()), return_inverse=True)
    starts = np.arange(points) * (len(numbers) - window - 1) // max(points - 1, 1)
    places = starts[:, None] + np.arange(window)
    targets = np.eye(len(alphabet), dtype=np.float32)[numbers[places + 1]]
    return Task(numbers[places].astype(np.int32), targets, argmax_accuracy)
