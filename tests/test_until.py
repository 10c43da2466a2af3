from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxor.engine.tally import Tally
from jaxor.estimates import confidence_sequence
from jaxor.until import Monitor, Rule, looks
from tests.engine.test_tally import block


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("halfwidth(success)<=0.0005", Rule(0.0005)),
        ("halfwidth(success)<.01", Rule(0.01, strict=True)),
        ("  halfwidth( success ) <= 1e-3 ", Rule(0.001)),
    ],
)
def test_rules_are_read_and_written(text: str, rule: Rule):
    assert Rule.parse(text) == rule == Rule.parse(str(rule))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "of the form halfwidth"),
        ("success<=0.1", "of the form halfwidth"),
        ("halfwidth(success)>=0.1", "of the form halfwidth"),
        ("halfwidth(success)==0.1", "of the form halfwidth"),
        ("halfwidth(success)<=0.1 and more", "of the form halfwidth"),
        (0.1, "of the form halfwidth"),
        ("halfwidth(epochs)<=0.1", r"success only, got halfwidth\(epochs\)"),
        ("halfwidth(success)<=small", "between 0 and 0.5, got small"),
        ("halfwidth(success)<=0", "between 0 and 0.5, got 0"),
        ("halfwidth(success)<=0.5", "between 0 and 0.5"),
        ("halfwidth(success)<=nan", "between 0 and 0.5"),
    ],
)
def test_what_is_no_rule(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        Rule.parse(text)


def test_a_rule_is_about_the_confidence_sequence():
    low, high = confidence_sequence(300, 1000)
    half = (high - low) / 2
    assert Rule(half).holds(300, 1000) and not Rule(half, strict=True).holds(300, 1000)
    assert Rule(half * 1.001, strict=True).holds(300, 1000) and not Rule(half * 0.999).holds(300, 1000)


@given(st.integers(1, 2**20))
def test_looks_come_often_but_not_too_often(size: int):
    found = looks(size)
    assert found[0] == size and found[-1] == 2**32
    assert all(seeds % size == 0 for seeds in found[:-1])
    assert all(0 < b - a <= max(size, a / 16) for a, b in itertools.pairwise(found))
    assert len(found) < 420


SIZE = 20
LOOKS = looks(SIZE)[:10]


@given(st.data())
def test_the_stop_is_the_first_look_at_which_the_rule_holds(data: st.DataObject):
    """However the runs below each look are cut up, and in whatever order they come."""
    whole = [Tally.of(block(range(start, start + 4))) for start in range(0, LOOKS[-1], 4)]
    rule = Rule(data.draw(st.sampled_from([0.05, 0.1, 0.2, 0.3])))
    monitor = Monitor(rule, LOOKS)
    for part in data.draw(st.permutations(whole)):
        monitor.add(part)
    expected = None
    for look in LOOKS:
        successes = sum(part.successes for part in whole if part.seeds[0][0] < look)
        if expected is None and rule.holds(successes, look):
            expected = look
    assert monitor.stop == expected


def test_nothing_is_known_before_all_runs_below_a_look_are_there():
    monitor = Monitor(Rule(0.49), LOOKS)
    for part in (range(1, SIZE), range(SIZE, 2 * SIZE)):
        monitor.add(Tally.of(block(part)))
        assert monitor.stop is None
    monitor.add(Tally.of(block([0])))
    assert monitor.stop == SIZE


def test_runs_beyond_the_last_look_do_not_count():
    monitor = Monitor(Rule(0.49), LOOKS[:1])
    monitor.add(Tally.of(block(np.arange(SIZE, 3 * SIZE))))
    assert monitor.stop is None
