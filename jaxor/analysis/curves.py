"""What traces say of many runs at once: losses on common steps, and paths in a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.engine.status import Status
from jaxor.store.run import Run

Floats = NDArray[np.float64]


def loss_curves(run: Run, seeds: ArrayLike, steps: ArrayLike) -> Floats:
    """Losses of runs before certain steps.

    Parameters
    ----------
    run : Run
        With traces.
    seeds : (n,) array_like of int
    steps : (m,) array_like of int
        From 0. Of traces that have only every so many steps, the last recorded one before it is taken.

    Returns
    -------
    (n, m) float64
        A run that has ended keeps its final loss, since its parameters stay; so every column is of all runs, and not of
        those that happen to be still in training. Of a run that diverged that is not finite.

    Raises
    ------
    KeyError
        A seed is not in this run.
    TraceNotStored
        No traces were recorded.

    Examples
    --------
    >>> from jaxor import simulate
    >>> run = simulate("abs1_convergence", seeds=20)
    >>> curves = loss_curves(run, run.seeds, [0, 1, 10_000])
    >>> bool((curves[:, 0] == run.initial_loss).all()), bool((curves[:, 2] == run.final_loss).all())
    (True, True)
    """
    ids, wanted = np.asarray(seeds, np.int64), np.asarray(steps, np.int64)
    places = run.places(ids)
    curves = np.repeat(run.final_loss[places].astype(np.float64)[:, None], len(wanted), axis=1)
    taken = run.steps[places]
    for row, seed in enumerate(ids):
        trace, going = run.trace(int(seed)), wanted < taken[row]
        curves[row, going] = trace.loss[np.searchsorted(trace.step, wanted[going], side="right") - 1]
    return curves


def path(run: Run, seed: int) -> Floats:
    """Parameters (T + 1, P) of a run from its first to its last ones, as far as they were recorded.

    Raises
    ------
    KeyError
        The seed is not in this run.
    StoreError
        First or last parameters were not stored.
    TraceNotStored
        Parameters of steps were not recorded.

    Examples
    --------
    >>> from jaxor import simulate
    >>> run = simulate("abs1_convergence", seeds=5)
    >>> path(run, 3).shape == (run.steps[3] + 1, 3)
    True
    """
    after = run.trace(seed).params  # first, since first parameters are those of all runs
    place = run.places(np.array([seed]))[0]
    return np.vstack([run.initial_params[place], after]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane that lies closest to some points.

    Attributes
    ----------
    origin : (P,) float64
        Mean of the points.
    directions : (2, P) float64
        Orthonormal; points spread most along the first.
    shares : (float, float)
        Of the points' variance, that along each.
    """

    origin: Floats
    directions: Floats
    shares: tuple[float, float]

    @classmethod
    def of(cls, points: Floats) -> Plane:
        """The plane of points (n, P), of two dimensions at least.

        Raises
        ------
        ValueError
            They are of fewer dimensions, fewer than two, or all the same.

        Examples
        --------
        >>> plane = Plane.of(np.array([[3.0, 0.0, 1.0], [-3.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, -1.0, 1.0]]))
        >>> abs(plane.directions).round(6).tolist(), plane.shares
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (0.9, 0.1))
        """
        if points.ndim != 2 or points.shape[1] < 2 or len(points) < 2:
            raise ValueError(f"a plane needs two points of two dimensions at least, got shape {points.shape}")
        origin = points.mean(axis=0)
        _, lengths, directions = np.linalg.svd(points - origin, full_matrices=False)
        variance = lengths**2
        if not variance.sum():
            raise ValueError("a plane needs points that differ")
        # Signs of singular vectors are arbitrary; the largest coordinate of each is made positive.
        largest = np.abs(directions[:2]).argmax(axis=1)
        signs = np.sign(directions[[0, 1], largest])
        first, second = (variance / variance.sum())[:2].tolist()
        return cls(origin, directions[:2] * signs[:, None], (first, second))

    def project(self, points: ArrayLike) -> Floats:
        """Coordinates (..., 2) in the plane of points (..., P)."""
        return (np.asarray(points, np.float64) - self.origin) @ self.directions.T


def some_seeds(run: Run, each: int) -> dict[bool, NDArray[np.int64]]:
    """The first seeds of those that started, by whether they succeeded; so many of each or as many as there are.

    Examples
    --------
    >>> from jaxor import simulate
    >>> run = simulate("relu1_normal", seeds=50, traces="none")
    >>> {success: len(seeds) for success, seeds in some_seeds(run, 3).items()}
    {True: 3, False: 3}
    """
    started, success = run.status != Status.UNSTARTED, run.final_accuracy == 1
    found = {kind: run.seeds[started & (success == kind)][:each] for kind in (True, False)}
    return {kind: seeds for kind, seeds in found.items() if len(seeds)}
