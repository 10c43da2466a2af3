"""Claims about optimisation paths that compare settings: batch sizes (P2) and optimizers (P3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.geometry import Floats
from jaxor.analysis.over_seeds import share_figure
from jaxor.analysis.path_claims import UNREAD, Thresholds, Verdict
from jaxor.analysis.path_views import View, Views


@dataclass(frozen=True, eq=False)
class Medians:
    """What of the paths of one setting is compared with those of others: medians over steps, by seed.

    Attributes
    ----------
    seeds : (n,) int64
    gamma, rate : dict of str to (n,) float64
        gamma, and the locally optimal rate in units of the one in use: ``first 95 %``, ``all steps``, ``null`` and the
        controls; of gamma also ``gamma / null``.
    """

    seeds: NDArray[np.int64]
    gamma: Mapping[str, Floats]
    rate: Mapping[str, Floats]

    @classmethod
    def of(cls, seen: Views) -> Medians:
        """Those of one setting."""
        early = seen.gradient.early()
        gamma = _sides("gamma", seen.gradient, seen.null) | {"gamma / null": early.medians("ratio")}
        gamma |= {name: control.medians("gamma") for name, control in seen.controls().items()}
        return cls(seen.seeds, gamma, _sides("local_rate", seen.update, seen.null_update))


def _sides(name: str, view: View, null: View) -> dict[str, Floats]:
    return {
        "first 95 %": view.early().medians(name),
        "all steps": view.medians(name),
        "null": null.early().medians(name),
    }


def batch_claims(arms: Sequence[Medians], thresholds: Thresholds) -> list[Verdict]:
    """P2 and P2', of settings by ascending size of their batches; over the seeds that all of them have.

    Raises
    ------
    ValueError
        Fewer than two settings.

    Examples
    --------
    >>> ones = np.ones(80)
    >>> arms = [Medians(np.arange(80), {"first 95 %": gamma * ones}, {"first 95 %": ones}) for gamma in (0.1, 0.2)]
    >>> [found.answer for found in batch_claims(arms, Thresholds())]
    ['supported', 'not']
    """
    if len(arms) < 2:
        raise ValueError(f"batch sizes are compared from two on, got {len(arms)}")
    seeds = sorted(set.intersection(*(set(arm.seeds.tolist()) for arm in arms)))
    rows = [np.flatnonzero(np.isin(arm.seeds, seeds))[np.argsort(arm.seeds[np.isin(arm.seeds, seeds)])] for arm in arms]
    exact = (
        "at one point of one path a larger batch never has the smaller locally optimal rate, by Jensen's inequality; "
        "between runs it is an empirical claim"
    )
    return [
        _growing(
            "P2", "gamma", "a larger batch has the larger gamma", f"larger batches have larger gamma throughout [REV]; "
            f"{UNREAD}", thresholds, arms, rows, lambda arm: arm.gamma,
            "the null's grows, too, where larger batches take fewer steps; gamma / null does not know of that",
        ),
        _growing(
            "P2'", "rate", "a larger batch has the larger locally optimal rate beside the one in use",
            f"not known to be claimed; {UNREAD}", thresholds, arms, rows, lambda arm: arm.rate,
            f"with plain SGD 1 on the null whatever the batch; {exact}",
        ),
    ]  # fmt: skip


def _growing(
    claim: str, short: str, statement: str, paper: str, thresholds: Thresholds, arms: Sequence[Medians],
    rows: Sequence[NDArray[np.intp]], pick: Callable[[Medians], Mapping[str, Floats]], forced: str,
) -> Verdict:  # fmt: skip
    """Whether medians grow strictly from each setting to the next, by seed: a rank correlation of 1."""

    def grows(side: str) -> Floats:
        values = np.array([pick(arm)[side][row] for arm, row in zip(arms, rows, strict=True)])
        with np.errstate(invalid="ignore"):
            # What is equal but for rounding, as on the null, does not grow.
            found = (values[1:] > values[:-1] + 1e-6 * np.abs(values[:-1])).all(axis=0)
        return np.where(np.isnan(values).any(axis=0), np.nan, found)

    sides = [side for side in pick(arms[0]) if side != "first 95 %"]
    name = f"share of seeds whose {short} grows with the batch"
    found = share_figure(name, grows("first 95 %"), thresholds.growing, {side: grows(side) for side in sides})
    return Verdict(claim, statement, paper, (found,), thresholds.seeds, forced)


def optimizer_claim(arms: Mapping[str, Sequence[Verdict]], thresholds: Thresholds) -> Verdict:
    """P3: P1 for each optimizer, of its gradients and of its steps.

    Parameters
    ----------
    arms : mapping of str to sequence of Verdict
        P1 of both variants, see `jaxor.analysis.path_claims.positivity`.
    thresholds : Thresholds
    """
    figures = tuple(
        replace(one, name=f"{label}, {variant}: {one.name}")
        for label, verdicts in arms.items()
        for variant, verdict in zip(("gradients", "steps"), verdicts, strict=True)
        for one in verdict.figures
    )
    return Verdict(
        "P3", "P1 holds for each optimizer, of gradients and of steps",
        f"optimizers are listed as a factor [ABS, REV], what differs is [UNSEEN]; {UNREAD}", figures, thresholds.seeds,
        "as of P1; momentum and Adam add past gradients, so that steps of a walk, too, point further ahead",
    )  # fmt: skip
