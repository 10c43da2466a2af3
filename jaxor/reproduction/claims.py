"""What a document says, held against what comes out here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jaxor.estimates import Interval
from jaxor.reproduction.figures import Figure, Finding, Measured, Missing
from jaxor.reproduction.work import Work

REPRODUCED, DIFFERS, OPEN, CANNOT = "reproduced", "differs", "undecided", "cannot be done here"
LEFT = "left to --full"


@dataclass(frozen=True)
class Claim:
    """Something that a document says.

    Attributes
    ----------
    measure : str
        Name of the measurement of its table that it is held against.
    where : str
        Its place in the document.
    statement : str
        What it is, in our words.
    printed : str
        The figure as printed, or "yes" where the document says that something holds.
    why : str
        Why ours differs, if it does.
    note : str
        What to know of it, whatever comes out.
    """

    measure: str
    where: str
    statement: str
    printed: str
    why: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Claims that are measured together.

    Attributes
    ----------
    name : str
        Such as ``sampling-one-layer``.
    document : str
    title : str
    how : str
        How it is measured.
    claims : tuple of Claim
    measure : callable
        Of the number of runs, and of what is told what goes on and keeps parts: measurements by name.
    quick, full : int
        Numbers of runs; 0 if that takes too long for a quick look.
    """

    name: str
    document: str
    title: str
    how: str
    claims: tuple[Claim, ...]
    measure: Callable[[int, Work], Mapping[str, Measured]]
    quick: int
    full: int


@dataclass(frozen=True)
class Answer:
    """A claim beside what was measured.

    Attributes
    ----------
    claim : Claim
    measured : Figure, Finding or Missing
    verdict : {"reproduced", "differs", "undecided", "cannot be done here", "left to --full"}
    """

    claim: Claim
    measured: Measured
    verdict: str

    @property
    def at_mean(self) -> bool:
        """Whether a printed figure, give or take its rounding, lies in the 95 % interval of our mean."""
        assert isinstance(self.measured, Figure)  # noqa: S101 (of findings there is none)
        return _within(self.claim.printed, self.measured.interval)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the reason why something differs only if it does."""
        claim = asdict(self.claim) | ({} if self.verdict == DIFFERS else {"why": ""})
        return claim | {"verdict": self.verdict, "measured": self.measured._asdict()}


def answer(claim: Claim, measured: Measured) -> Answer:
    """Hold a claim against a measurement.

    Examples
    --------
    >>> from jaxor.reproduction.figures import exactly
    >>> answer(Claim("parameters", "2.1", "parameters", "10"), exactly(12)).verdict
    'differs'
    """
    if isinstance(measured, Missing):
        return Answer(claim, measured, CANNOT)
    if isinstance(measured, Finding) and measured.holds is None:
        return Answer(claim, measured, OPEN)
    if isinstance(measured, Finding):
        return Answer(claim, measured, REPRODUCED if measured.holds else DIFFERS)
    return Answer(claim, measured, REPRODUCED if _within(claim.printed, measured.range) else DIFFERS)


def _within(printed: str, interval: Interval) -> bool:
    value, half = number(printed)
    return interval.low - half <= value <= interval.high + half


def number(printed: str) -> tuple[float, float]:
    """A printed number and half a unit of its last digit, which it may be off by rounding.

    Raises
    ------
    ValueError
        It is none.

    Examples
    --------
    >>> number("0.468"), number("58 %"), number("1,234"), number("29/50")
    ((0.468, 0.0005), (0.58, 0.005), (1234.0, 0.5), (0.58, 0.0))
    """
    if fraction := re.fullmatch(r"(\d+)/(\d+)", printed):
        return int(fraction[1]) / int(fraction[2]), 0.0
    parts = re.fullmatch(r"(-?[\d,]+)(?:\.(\d+))?( %|x)?", printed)
    if parts is None:
        raise ValueError(f"not a printed number: {printed!r:.60}")
    digits, percent = parts[2] or "", 100 if parts[3] == " %" else 1
    value = float(parts[1].replace(",", "") + (f".{digits}" if digits else ""))
    return value / percent, 0.5 * 10.0 ** -len(digits) / percent
