"""Strategies of initialisation by name, as experiments that differ from a control in their initializer alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from jaxor.estimates import Interval
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import Component, ExperimentError
from jaxor.simulation import simulate

LAWS = ("model", "normal", "tiny", "large", "xavier", "kaiming")
"""Laws that take the place of the control's."""

_WRAPPERS = {
    "mirror": ("mirror", None), "hypersphere": ("hypersphere", "radius"), "alive": ("alive", "margin"),
    "scaled": ("scaled", "factor"), "best": ("best_of", "draws"), "first-batch": ("first_batch", "draws"),
    "below": ("loss_below", "threshold"), "above": ("loss_above", "threshold"),
}  # fmt: skip
_NEEDS_VALUE = ("scaled", "best", "first-batch", "below", "above")
_PART = re.compile(r"([a-z-]+)(?::([0-9.e+-]+)(%?))?")

WORDS = (
    "a strategy is made of parts such as below:0.0724, below:25%, above:50%, best:100, first-batch:10, alive, "
    "alive:0.3, mirror, hypersphere:1.4, scaled:2, or a law (model, normal, tiny, large, xavier, kaiming), joined by +"
)


@dataclass(frozen=True)
class Threshold:
    """A percentile of the initial loss, estimated from so many draws, with a 95 % interval by order statistics."""

    percentile: float
    value: float
    interval: Interval
    draws: int


@dataclass(frozen=True)
class Strategy:
    """A way to choose first parameters.

    Attributes
    ----------
    name : str
        As the user wrote it.
    experiment : Experiment
        The control with another initializer.
    threshold : Threshold or None
        If it was given as a percentile.
    """

    name: str
    experiment: Experiment
    threshold: Threshold | None = None


def strategy(text: str, control: Experiment, draws: int = 100_000) -> Strategy:
    """Read a strategy: parts joined by ``+``, each on top of the one before, the first on the control's own law.

    Parameters
    ----------
    text : str
    control : Experiment
    draws : int
        From which percentiles are estimated.

    Raises
    ------
    ValueError
        It is none; the message says what there is.

    Examples
    --------
    >>> from jaxor import get_experiment
    >>> found = strategy("mirror+best:10", get_experiment("relu1_normal"))
    >>> found.experiment.init.name, found.experiment.init.options["base"].name
    ('best_of', 'mirror')
    >>> strategy("below:25%", get_experiment("relu1_normal"), draws=10_000).threshold.percentile
    25.0
    """
    init, threshold = control.init, None
    for place, part in enumerate(text.split("+")):
        name, value, percent = _read(part.strip(), text)
        if name in LAWS:
            if place:
                raise ValueError(f"strategy {text!r:.80} draws from {name} after another part; a law comes first")
            init = {"name": name} if value is None else {"name": name, "std": value}
            continue
        kind, option = _WRAPPERS[name]
        if percent:
            assert value is not None  # noqa: S101 (the pattern has it so)
            threshold = percentile(_with(control, init), value, draws)
            value = threshold.value
        init = {"name": kind, "base": _plain(init)}
        if value is not None:
            init[option] = int(value) if option == "draws" else value
    return Strategy(text, _with(control, init), threshold)


def _read(part: str, text: str) -> tuple[str, float | None, bool]:
    """Name, value and whether that is a percentage."""
    match = _PART.fullmatch(part)
    if match is None or match[1] not in (*LAWS, *_WRAPPERS):
        raise ValueError(f"{part!r:.40} in the strategy {text!r:.80} is unknown: {WORDS}")
    name, number, percent = match.groups()
    try:
        value = float(number) if number else None
    except ValueError:
        raise ValueError(f"{number!r:.40} in the strategy {text!r:.80} is not a number: {WORDS}") from None
    if value is None and name in _NEEDS_VALUE:
        raise ValueError(f"{name} in the strategy {text!r:.80} needs a number: {WORDS}")
    if name == "mirror" and value is not None:
        raise ValueError(f"{part!r:.40} in the strategy {text!r:.80}: mirror takes no number")
    if name in ("best", "first-batch") and value is not None and not value.is_integer():
        raise ValueError(f"{part!r:.40} in the strategy {text!r:.80}: draws are a whole number")
    if percent and (name not in ("below", "above") or value is None or not 0 < value < 100):
        raise ValueError(
            f"{part!r:.40} in the strategy {text!r:.80}: percentages are between 0 and 100 and go with below and above"
        )
    return name, value, bool(percent)


def _plain(init: Any) -> Any:
    return init.to_plain() if isinstance(init, Component) else init


def _with(control: Experiment, init: Any) -> Experiment:
    try:
        return control.replace(init=_plain(init))
    except ExperimentError as error:
        raise ValueError(str(error)) from None


def percentile(experiment: Experiment, percent: float, draws: int) -> Threshold:
    """A percentile of an experiment's initial loss.

    Parameters
    ----------
    experiment : Experiment
        No step of it is taken.
    percent : float
        Between 0 and 100.
    draws : int
    """
    return threshold_of(initial_losses(experiment, draws), percent)


def initial_losses(experiment: Experiment, draws: int) -> NDArray[np.floating[Any]]:
    """Initial losses (draws,) of an experiment."""
    return simulate(experiment.replace(max_epochs=0), draws, traces="none", parameters="none").initial_loss


def threshold_of(losses: ArrayLike, percent: float) -> Threshold:
    """A percentile of a sample, with the exact interval of order statistics; draws without a loss (NaN) are left out.

    How many of n draws are below the true percentile is binomial, so two of the sorted draws enclose it with the
    stated probability whatever the law. Where there are too few draws for an end, it is infinite.

    Raises
    ------
    ValueError
        No draw has a loss.

    Examples
    --------
    >>> found = threshold_of(np.arange(1000.0), 10)
    >>> found.value, found.interval
    (99.9, Interval(low=81.0, high=119.0))
    """
    losses = np.asarray(losses, np.float64)
    ordered = np.sort(losses[~np.isnan(losses)])
    if not len(ordered):
        raise ValueError(f"none of {len(losses):,} draws has a loss, so there are no percentiles of it")
    low, high = stats.binom.ppf([0.025, 0.975], len(ordered), percent / 100).astype(int)
    unbounded = np.array([-np.inf, *ordered, np.inf])
    ends = Interval(float(unbounded[low]), float(unbounded[high + 1]))
    return Threshold(percent, float(np.percentile(ordered, percent)), ends, len(ordered))
