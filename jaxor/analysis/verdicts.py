"""Claims about convergence times, decided by which of two models forecasts unseen runs better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxor.analysis.judge import Judged
from jaxor.analysis.judgement import verdict
from jaxor.estimates import Interval


@dataclass(frozen=True)
class Verdict:
    """Whether one model forecasts unseen runs better than another.

    Attributes
    ----------
    claim : str
    first, second : str
        Names of models.
    difference : float
        Mean absolute error of the first less that of the second, epochs.
    interval : Interval
        95 %, runs resampled for both at once.
    answer : {"yes", "no", "undecided"}
    """

    claim: str
    first: str
    second: str
    difference: float
    interval: Interval
    answer: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"interval": self.interval._asdict()}


_CLAIMS = (
    ("epochs are linear in distance, rather than in its logarithm", ("law", "distance"), ("law", "log_shifted")),
    # For large shifts ln(1 + distance / shift) is a line, too: against it a line can hardly win, against this it can.
    ("epochs are linear in distance, not in its bare logarithm", ("law", "distance"), ("law", "log_distance")),
    ("all features with least squares beat the law of one", ("sound", "linear"), ("law", "log_shifted")),
    ("a flexible model beats the law of one feature", ("sound", "hist_boosting"), ("law", "log_shifted")),
    (
        "the optimizer's memory tells more than the parameters",
        ("sound", "hist_boosting_memory"),
        ("sound", "hist_boosting"),
    ),
    ("the state tells more with the last update", ("causal", "state_and_update"), ("causal", "state")),
    ("the state tells more with the optimizer's moments", ("causal", "state_and_moments"), ("causal", "state")),
    ("past losses alone tell more than the state", ("causal", "losses"), ("causal", "state")),
)


def verdicts(models: Sequence[Judged], random_state: int = 0) -> list[Verdict]:
    """Paired comparisons of mean absolute errors by folds cut between runs."""
    by_name = {(m.candidate.face, m.candidate.name): m for m in models}
    found = []
    for claim, first, second in _CLAIMS:
        if first in by_name and second in by_name:
            difference, interval = by_name[first].errors.mae_difference(by_name[second].errors, random_state)
            names = ("/".join(first), "/".join(second))
            found.append(Verdict(claim, *names, difference, interval, verdict(interval)))
    return found
