"""Rules that end a simulation: it goes on, block after block of seeds from 0, until something is known well enough.

A rule is looked at after fixed numbers of seeds, which depend on the experiment alone, so equal rules end at equal
seeds whatever the machine, the number of workers or the interruptions. What is looked at is a confidence sequence,
which keeps its promise under any number of looks.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from jaxor.engine.seeds import MAX_SEED
from jaxor.engine.tally import Tally
from jaxor.estimates import confidence_sequence

EVERY = 16
"""The next look comes after 1/16 more seeds, but at least a block, so that few looks lead far and none is far off."""

_RULE = re.compile(r"\s*halfwidth\(\s*(\w+)\s*\)\s*(<=?)\s*([^\s<=]+)\s*")


@dataclass(frozen=True)
class Rule:
    """Half the width of the 95 % confidence sequence of the success share is at most, or below, `bound`.

    Examples
    --------
    >>> rule = Rule.parse("halfwidth(success) <= .01")
    >>> str(rule), rule.holds(500, 1000), rule.holds(50_000, 100_000)
    ('halfwidth(success)<=0.01', False, True)
    """

    bound: float
    strict: bool = False

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read ``halfwidth(success)<=X`` or ``halfwidth(success)<X``.

        Raises
        ------
        ValueError
            It is something else.
        """
        match = _RULE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"until must be of the form halfwidth(success)<=0.001, got {text!r}")
        if match[1] != "success":
            raise ValueError(f"until knows the half-width of success only, got halfwidth({match[1]})")
        try:
            bound = float(match[3])
        except ValueError:
            bound = 0.0
        if not 0 < bound < 0.5:
            raise ValueError(f"the half-width in until must be a number between 0 and 0.5, got {match[3]}")
        return cls(bound, match[2] == "<")

    def __str__(self) -> str:
        return f"halfwidth(success){'<' if self.strict else '<='}{self.bound!r}"

    def holds(self, successes: int, runs: int) -> bool:
        """Whether that many successes among the first runs tell the share well enough."""
        low, high = confidence_sequence(successes, runs)
        half = (high - low) / 2
        return half < self.bound if self.strict else half <= self.bound


def looks(block_seeds: int) -> tuple[int, ...]:
    """After how many seeds a rule is looked at, up to all seeds that there are.

    Examples
    --------
    >>> looks(1000)[:3], looks(1000)[15:18]
    ((1000, 2000, 3000), (16000, 17000, 18000))
    """
    found, blocks = [], 0
    while blocks * block_seeds <= MAX_SEED:
        blocks += max(blocks // EVERY, 1)
        found.append(min(blocks * block_seeds, MAX_SEED + 1))
    return tuple(found)


@dataclass
class Monitor:
    """What is known at the looks: takes tallies in any order, but none that goes on beyond a look.

    Attributes
    ----------
    rule : Rule
    looks : tuple of int
    stop : int or None
        The first look at which the rule holds, once all seeds below it are counted.
    """

    rule: Rule
    looks: tuple[int, ...]
    stop: int | None = None
    _counts: dict[int, tuple[int, int]] = field(default_factory=dict)  # runs and successes since the look before
    _passed: int = 0
    _runs: int = 0
    _successes: int = 0

    def add(self, tally: Tally) -> None:
        """Take more runs into account."""
        look = bisect_right(self.looks, tally.seeds[0][0])
        runs, successes = self._counts.get(look, (0, 0))
        self._counts[look] = runs + len(tally), successes + tally.successes
        while self.stop is None and self._passed < len(self.looks):
            runs, successes = self._counts.get(self._passed, (0, 0))
            if self._runs + runs < self.looks[self._passed]:
                return
            self._runs, self._successes = self._runs + runs, self._successes + successes
            if self.rule.holds(self._successes, self._runs):
                self.stop = self.looks[self._passed]
            self._passed += 1
