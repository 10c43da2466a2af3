"""Runs that were trained elsewhere, as a `Run`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxor.analysis.answers import answers
from jaxor.engine.block import Block
from jaxor.experiments.experiment import Experiment
from jaxor.job import prepare
from jaxor.store.run import Run


def finished(
    experiment: str | Experiment, *, initial_params: ArrayLike, final_params: ArrayLike, epochs: ArrayLike,
    status: ArrayLike, final_loss: ArrayLike, final_accuracy: ArrayLike,
) -> Run:  # fmt: skip
    """Make a `Run` in memory of what another program trained; its seeds are the numbers of the rows.

    Parameters
    ----------
    experiment : str or Experiment
        What was trained.
    initial_params, final_params : (n, P) array_like
        In the flat order of the model.
    epochs : (n,) array_like of int
    status : (n,) array_like of int
        Values of `jaxor.Status`.
    final_loss, final_accuracy : (n,) array_like

    Raises
    ------
    ValueError
        Arrays of other shapes, or first parameters that are not finite.

    Examples
    --------
    >>> run = finished("abs1_convergence", initial_params=[[0.4, -0.5, 0]], final_params=[[0.5, -0.5, 0]], epochs=[9],
    ...                status=[0], final_loss=[0.0], final_accuracy=[1.0])
    >>> len(run), round(float(run.initial_loss[0]), 4)
    (1, 0.01)
    """
    job = prepare(experiment, initial_params=initial_params, traces="none")
    assert job.given is not None and job.seeds is not None  # noqa: S101 (they are of the parameters given)
    floats, shape = job.manifest.floats, job.given.shape
    last = np.asarray(final_params, floats)
    columns = {"epochs": epochs, "status": status, "final_loss": final_loss, "final_accuracy": final_accuracy}
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    for name, array in {"final_params": last, **arrays}.items():
        wanted = shape if name == "final_params" else shape[:1]
        if array.shape != wanted:
            raise ValueError(f"{name} must have shape {wanted}, as initial_params say; got {array.shape}")
    block = Block(
        seeds=job.seeds,
        status=arrays["status"].astype(np.int8),
        steps=(arrays["epochs"] * job.experiment.steps_per_epoch).astype(np.int32),
        epochs=arrays["epochs"].astype(np.int32),
        initial_loss=answers(job.experiment, job.given).loss,
        final_loss=arrays["final_loss"].astype(floats),
        final_accuracy=arrays["final_accuracy"].astype(floats),
        initial_params=job.given,
        final_params=last,
        traces=None,
    )
    return Run.from_block(job.manifest, block, job.experiment)
