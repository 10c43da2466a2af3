"""Global convergence as functions: V of eq. (7), and the rates of Theorems 5.2 and 5.3 with their premises.

Wang & Ma (NeurIPS 2022), section 5; tags as in `assumptions`. Prefactor of V, rates and schedules are unreadable in the
copy at hand, so the bounds here are derived anew: for t >= 1 the masks stay, all z_i >= 0, and
``|grad_b L|^2 >= g_a^2 V L^2`` [DER], up to factors ``1 - O(eta kappa)`` of a_k(1).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.assumptions import Separation
from jaxor.analysis.hitting import checked_eta
from jaxor.analysis.statements import HIDDEN, Bound, Setting
from jaxor.experiments.adaptive import FIRST_RATE

Floats = NDArray[np.float64]


def convergence_constant(
    data: Separation, width: int, delta: float, *, prefactor: float = 1 / 8, literal: bool = False
) -> float:
    """V of eq. (7); not above 0 if the width is too small, ``m <= 32 ln(n^2 / delta)``.

    ``p (1/2 - sqrt(8 ln(n^2 / delta) / m)) max{2/n + (n - 2)/n gamma, (2/n) lam}`` [OCR?], with p = 1/8 and the factor
    2/n of lam [DER]. For inputs below norm 1 the first branch is ``2/n (min |x|^2 - gamma) + gamma`` [DER], which at
    norm 1 is the printed one.

    Parameters
    ----------
    data : Separation
    width : int
    delta : float
    prefactor : float
        p.
    literal : bool
        lam without its factor, as it reads; the bounds are not proven with it.

    Raises
    ------
    ValueError
        A width below 1, `delta` not between 0 and 1, or a prefactor not above 0.

    Examples
    --------
    >>> from jaxor.analysis.assumptions import separation
    >>> data = separation([[1, 0], [0.6, 0.8], [-1, 0], [-0.6, -0.8]], [1, 1, -1, -1])
    >>> round(convergence_constant(data, width=10_000, delta=0.1), 4)
    0.0436
    """
    if not width >= 1 or not 0 < delta < 1 or not 0 < prefactor < math.inf:
        raise ValueError(
            "width must be at least 1, delta between 0 and 1 and prefactor above 0, "
            f"got {width}, {delta} and {prefactor}"
        )
    n = data.samples
    overlap = 1 / 2 - math.sqrt(8 * math.log(n**2 / delta) / width)
    alike = 2 / n * (data.smallest_norm**2 - data.gamma) + data.gamma
    return prefactor * overlap * max(alike, data.lam if literal else 2 / n * data.lam)


def contraction(c: float, v: float, g_a: float) -> float:
    """Upper bound of ``L(t+1) / L(t)`` in Theorem 5.3, ``1 - c g_a^2 V / 2`` [DER, for c <= 1/h].

    Examples
    --------
    >>> contraction(1.0, 0.02, 0.5)
    0.9975
    """
    return 1 - c * g_a**2 * v / 2


def input_layer_curve(steps: ArrayLike, first_loss: float, factor: float) -> Floats:
    """Upper bound of L(t) in Theorem 5.3, ``L(1) factor^(t-1)``, for t >= 1 [DER].

    Examples
    --------
    >>> input_layer_curve([1, 2, 3], 0.8, 0.5).tolist()
    [0.8, 0.4, 0.2]
    """
    return first_loss * factor ** (np.asarray(steps, np.float64) - 1)


def all_layers_curve(steps: ArrayLike, first_loss: float, pace: float) -> Floats:
    """Upper bound of L(t) in Theorem 5.2, ``L(1) / (1 + pace (t-1))``, for 1 <= t <= T0 [DER].

    Examples
    --------
    >>> all_layers_curve([1, 2, 3], 0.9, 1.0).round(2).tolist()
    [0.9, 0.45, 0.3]
    """
    return first_loss / (1 + pace * (np.asarray(steps, np.float64) - 1))


def theorem_5_2(
    data: Separation,
    run: Setting,
    *,
    eta: float,
    first_loss: float,
    r: float = 1.0,
    t0: int = 100,
    v: float | None = None,
) -> Bound:
    """Theorem 5.2: all parameters of model (4); L = O(1/t) up to T0, O(1/t^r) after it.

    The bound is `all_layers_curve`'s pace, ``eta g_a^2 V L(1) / 2``, with ``1 <= t <= T0`` [DER].

    Parameters
    ----------
    data : Separation
    run : Setting
        Its `eta` is eta_0.
    eta : float
        Rate of steps 1 to T0.
    first_loss : float
        L(1), the loss after the first step.
    r : float
        Order of the decay after T0.
    t0 : int
        T0; its formula is unreadable [OCR?].
    v : float or None
        V; None takes `convergence_constant` as it is by default.

    Raises
    ------
    ValueError
        Not positive, finite numbers.

    Examples
    --------
    >>> from jaxor.analysis.assumptions import separation
    >>> data = separation([[1, 0], [0.6, 0.8], [-1, 0], [-0.6, -0.8]], [1, 1, -1, -1])
    >>> found = theorem_5_2(data, Setting(10_000, 1e-6, 0.3, "exponential"), eta=0.01, first_loss=0.9)
    >>> all_layers_curve([1, 100], 0.9, found.bound).round(4).tolist()
    [0.9, 0.8828]
    """
    checked_eta(eta)
    _check(first_loss=first_loss, r=r, t0=t0)
    v, g_a = _constants(data, run, v)
    bound = eta * g_a**2 * v * first_loss / 2 if v > 0 and g_a else None
    return Bound(
        statement="Theorem 5.2",
        quantity="pace a of L(t) <= L(1) / (1 + a (t - 1)) for 1 <= t <= T0, at least",
        bound=bound,
        steps=None,
        learning_rate="eta_0 <= 1/(2 sqrt 2); eta for 1 <= t <= T0; then r L(t) / (t |grad L(t)|^2)",
        probability=run.two_class_probability(data),
        premises={
            **_premises(data, run, v),
            "r >= 1": r >= 1,
            f"T0 = {t0} as the theorem has it": None,
            "eta |Hessian of L| <= 1 for 1 <= t <= T0": None,
        },
        provenance={"bound": "DER", "V": "DER", "learning_rate": "DER", "T0": "OCR?", "probability": "TXT"},
        notes=(
            *_without(bound),
            f"After T0 the loss falls as t^-{r:g} [TXT], constant not given; the printed schedule is lost, and the one "
            "here has that slope in simulations.",
            HIDDEN,
        ),
    )


def theorem_5_3(data: Separation, run: Setting, *, c: float | None = None, v: float | None = None) -> Bound:
    """Theorem 5.3: the input layer of model (4) alone; the loss falls by a constant factor a step.

    The bound is `contraction`, of each step from t = 1 [DER, for c <= 1/h].

    Parameters
    ----------
    data : Separation
    run : Setting
        Its `eta` is eta_0.
    c : float or None
        Of the rate c / L(theta(t)) from t = 1 [OCR?: its right side is lost]; None takes 1/h.
    v : float or None
        V; None takes `convergence_constant` as it is by default.

    Raises
    ------
    ValueError
        Not positive, finite numbers.

    Examples
    --------
    >>> from jaxor.analysis.assumptions import separation
    >>> data = separation([[1, 0], [0.6, 0.8], [-1, 0], [-0.6, -0.8]], [1, 1, -1, -1])
    >>> found = theorem_5_3(data, Setting(10_000, 1e-6, 0.3, "logistic"))
    >>> round(found.bound, 4), found.premises["c <= 1/h"]
    (0.9945, True)
    """
    h = run.constants.h
    if c is None:
        c = 1 / h if h else 1.0
    _check(c=c)
    v, g_a = _constants(data, run, v)
    bound = contraction(c, v, g_a) if v > 0 and g_a else None
    return Bound(
        statement="Theorem 5.3",
        quantity="L(t+1) / L(t) for t >= 1, at most",
        bound=bound,
        steps=None,
        learning_rate="eta_0 <= 1/(2 sqrt 2), then c / L(theta(t))",
        probability=run.two_class_probability(data),
        premises={**_premises(data, run, v), "c <= 1/h": h is not None and c * h <= 1},
        provenance={"bound": "DER", "V": "DER", "learning_rate": "OCR?", "probability": "TXT"},
        notes=(*_without(bound), HIDDEN),
    )


def _constants(data: Separation, run: Setting, v: float | None) -> tuple[float, float | None]:
    """V, by default as derived, and g_a of the loss."""
    if v is None:
        v = convergence_constant(data, run.width, run.delta)
    if not math.isfinite(v):
        raise ValueError(f"V must be finite, got {v}")
    return v, run.constants.g_a


def _premises(data: Separation, run: Setting, v: float) -> dict[str, bool | None]:
    """Premises that Theorems 5.2 and 5.3 share [TXT; V > 0 DER]."""
    return run.two_classes(data) | {
        "5.1: g_a, g_b, h": run.constants.g_a is not None,
        "V > 0": v > 0,
        "eta_0 <= 1/(2 sqrt 2)": run.eta <= FIRST_RATE * (1 + 1e-9),
        "m = Omega(log(n / delta))": None,
        "kappa = O(eta_0 mu_0 / n)": None,
    }


def _without(bound: float | None) -> tuple[str, ...]:
    return () if bound is not None else ("Without V > 0 and a loss of Assumption 5.1 there is no bound.",)


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number, got {value}")
