"""Runs started from the initial parameters of the original PyTorch runs end as those did."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor import Run, Status
from tests import reference
from tests.conftest import Row
from tests.reference import Result
from tests.test_reference import NOISY_BIAS, STATUS, TRAINED, oracle

TIGHT = 6e-7
TABLE = "Started from the initial parameters of the original's runs"


class Allowance(NamedTuple):
    """How far runs of an experiment may be from the original, and why."""

    why: str
    other_end: frozenset[int] = frozenset()  # runs that may end in another epoch or for another reason
    loose: frozenset[int] | None = frozenset()  # runs whose parameters are compared loosely; None: all
    params: float = TIGHT  # absolute tolerances for those, at the end and on the way
    path: float = TIGHT


NOTHING = Allowance("")
BIAS = "bias: rounding noise there, exactly 0 here"
ALLOWANCES = {
    "abs1_normal": Allowance(BIAS, loose=None, params=1e-6, path=1e-6),
    "abs1_tiny": Allowance(BIAS, loose=None, params=1e-6, path=1e-6),
    # A plateau at loss 1/4, all outputs 1/2 up to rounding: the last bit of an exponential decides when it stalls.
    "relu1_elu": Allowance("2 failed runs on a plateau", frozenset({19, 38}), None, 1.5e-6, 1.5e-6),
    # Three units in the last place after 190 steps; float64 is 2.3 of them from ours and 0.7 from the original.
    "relu1_mirror": Allowance("", frozenset(), frozenset({212}), 1e-6),
    # Runs 1 and 4 pass a place that blows differences up a hundredfold (float64 is as far from either float32 there);
    # run 45 fails and slides along a valley for 600 epochs.
    "relu2_two_mse_sgd": Allowance("runs 1, 4, 45 amplify rounding", frozenset(), frozenset({1, 4, 45}), 2e-6, 1e-4),
    # At a loss of 1e-7 the gradient, a sigmoid minus 1, has one or two significant bits, and Adam follows its rounding.
    "relu2_two_bce": Allowance(
        "1 failed run on a plateau; few bits left at the end", frozenset({11}), None, 0.03, 0.03
    ),
}
COMPARED = [name for name in TRAINED if name != "abs2_single_mse"]


@cache
def repeated(name: str) -> Run:
    return jaxor.simulate(name, initial_params=oracle(name)["init_params"])


def statuses(name: str) -> NDArray[np.int8]:
    return np.array([STATUS[reason] for reason in oracle(name)["stop_reason"]])


def agreeing(name: str) -> NDArray[np.bool_]:
    theirs, ours = oracle(name), repeated(name)
    same = (ours.epochs == theirs["epochs_completed"]) & (ours.status == statuses(name))
    return same & (ours.final_accuracy == theirs["final_accuracy"])


def columns(name: str) -> list[int]:
    """Parameters to compare: all but a bias that is rounding noise in the original."""
    names = oracle(name)["param_names"]
    return [i for i, param in enumerate(names) if not (name in NOISY_BIAS and param == "linear1.bias[0]")]


# Trained as abs1_normal and relu1_normal are, from other first parameters; and another activation than relu1_elu's.
RARELY = ("abs1_kaiming_mse", "abs1_tiny", "relu1_biased", "relu1_reinit_0th", "relu1_leaky_1e-1")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.full] * (name in RARELY)) for name in COMPARED]
)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_epoch_reason_and_accuracy_of_every_run(name: str) -> None:
    theirs, ours = oracle(name), repeated(name)
    assert list(ours.param_names) == theirs["param_names"].tolist()
    assert_array_equal(ours.initial_params, theirs["init_params"])
    assert_array_equal(ours.steps, ours.epochs)
    success = theirs["final_accuracy"] == 1
    assert_array_equal(ours.final_accuracy == 1, success)
    assert_array_equal(ours.epochs[success], theirs["epochs_completed"][success])
    assert_array_equal(ours.status[success], statuses(name)[success])
    assert set(np.flatnonzero(~agreeing(name)).tolist()) <= ALLOWANCES.get(name, NOTHING).other_end


def test_final_parameters_and_losses(name: str) -> None:
    theirs, ours, same, kept = oracle(name), repeated(name), agreeing(name), columns(name)
    allowance = ALLOWANCES.get(name, NOTHING)
    difference = np.abs(ours.final_params - theirs["final_params"])[:, kept].max(axis=1)
    assert difference[same].max() <= allowance.params
    if allowance.loose is not None:
        assert difference[same & ~np.isin(np.arange(len(ours)), [*allowance.loose])].max() <= TIGHT
    if name in NOISY_BIAS:
        assert_array_equal(ours.final_params[:, 2], np.zeros(len(ours)))
    assert_allclose(ours.initial_loss, theirs["first_epoch_loss"], 5e-7)
    assert_allclose(ours.final_loss[same], theirs["final_loss"][same], 0, 1e-7)


def traced(name: str) -> Iterator[tuple[int, float, float]]:
    """The runs that the original traced, with the largest differences of losses and of parameters on the way."""
    theirs, ours, kept = oracle(name), repeated(name), columns(name)
    bounds = [pairwise(theirs[f"trace_{what}_offsets"]) for what in ("loss", "param")]
    for seed, ((begin, end), (first, last)) in enumerate(zip(*bounds, strict=True)):
        trace, epoch, path = (
            ours.trace(seed),
            theirs["trace_param_epoch"][first:last],
            theirs["trace_params"][first:last],
        )
        assert_array_equal(trace.step, np.arange(ours.steps[seed]))
        loss = theirs["trace_loss"][begin:end].astype(float)
        if not agreeing(name)[seed]:
            continue
        if name in NOISY_BIAS:  # for opposite points, (s + b)^2 and (s - b)^2 have the mean s^2 + b^2
            loss[1:] -= path[:-1, 2].astype(float) ** 2
        yield (
            seed,
            np.max(np.abs(trace.loss - loss) / (1 + np.abs(loss))),
            np.abs(trace.params[epoch] - path)[:, kept].max(),
        )


def test_traces(name: str, table_row: Row) -> None:
    allowance, same = ALLOWANCES.get(name, NOTHING), agreeing(name)
    seeds, losses, paths = (np.array(values) for values in zip(*traced(name), strict=True))
    final = np.abs(repeated(name).final_params - oracle(name)["final_params"])[same][:, columns(name)].max()
    add(table_row, name, same, final, paths.max(), losses.max(), allowance.why)
    assert len(seeds) > 4
    assert losses.max() < 5e-7
    assert paths.max() <= allowance.path
    if allowance.loose is not None:
        assert paths[~np.isin(seeds, [*allowance.loose])].max() <= TIGHT


def add(
    table_row: Row, name: str, same: NDArray[np.bool_], final: float, path: float, loss: float, remarks: str
) -> None:
    differences = {"final params": f"{final:.1e}", "trace params": f"{path:.1e}", "trace losses": f"{loss:.1e}"}
    table_row(TABLE, file=name, runs=len(same), equal=f"{same.mean():.0%}", **differences, remarks=remarks)


def test_noise_in_the_original_and_none_here(table_row: Row) -> None:
    """abs2_single_mse: the original's hidden bias is rounding noise, which ends 28 of 50 runs elsewhere.

    What there is to agree with is arithmetic without that noise: a reference whose bias stays exactly 0.
    """
    name = "abs2_single_mse"
    ours, start = repeated(name), oracle(name)["init_params"]
    theirs: Result = reference.simulate(reference.EXPERIMENTS[name], start)
    same = (ours.epochs == theirs.epochs) & (ours.status == theirs.status)
    final = np.abs(ours.final_params - theirs.final_params).max(axis=1)
    traces = [ours.trace(seed) for seed in range(len(ours))]
    paths = np.array(
        [np.abs(trace.params - path).max() for trace, path in zip(traces, theirs.param_trace, strict=True)]
    )
    losses = [np.max(np.abs(t.loss - loss) / (1 + loss)) for t, loss in zip(traces, theirs.loss_trace, strict=True)]
    remarks = f"with the NumPy reference; with the original {agreeing(name).mean():.0%}, {BIAS}"
    add(table_row, name, same, final.max(), paths.max(), max(losses), remarks)
    assert same.all()
    for result in (theirs.final_accuracy, oracle(name)["final_accuracy"]):
        assert_array_equal(ours.final_accuracy, result)
    assert not any(trace.params[:, 2].any() for trace in traces)
    assert max(losses) < 5e-7
    assert max(final.max(), paths.max()) < 1e-4
    # These oscillate across the kink, where the last bit decides the side. In run 43 the reference in float32 is 2.5e-6
    # from itself in float64, and we are 0.6e-6 from that.
    sensitive = [10, 39, 41, 43]
    assert max(np.delete(final, sensitive).max(), np.delete(paths, sensitive).max()) < 1e-6


@pytest.mark.parametrize("name", ["relu1_init_dist", "relu2_init_dist"])
def test_initial_losses(name: str, table_row: Row) -> None:
    theirs, ours = oracle(name), repeated(name)
    difference = np.abs(ours.initial_loss - theirs["final_loss"]) / theirs["final_loss"]
    equal = ours.final_accuracy == theirs["final_accuracy"]
    add(table_row, name, equal, 0, 0, difference.max(), "no step")
    assert equal.all()
    assert difference.max() < 3e-7
    assert_array_equal(ours.final_loss, ours.initial_loss)
    assert_array_equal(ours.final_params, theirs["init_params"])
    assert set(ours.status.tolist()) == {Status.EPOCH_CAP}
    assert not ours.steps.any() and not any(len(ours.trace(seed).loss) for seed in range(len(ours)))


@pytest.mark.parametrize(
    ("name", "mean", "quantiles", "accuracies"),
    [
        # Monte Carlo of 400,000 draws of the original's law: mean, quartile and 1 % quantile of the initial loss, and
        # the shares of accuracy 0, 1/4, 1/2, 3/4, 1.
        ("relu1_init_dist", 0.595, {0.5: 0.493, 0.25: 0.340, 0.01: 0.0747}, [0.024, 0.219, 0.515, 0.219, 0.024]),
        ("relu2_init_dist", 1.50, {0.5: 1.056, 0.25: 0.663, 0.01: 0.348}, [0, 0.146, 0.708, 0.146, 0]),
    ],
)
def test_the_law_of_initial_losses(
    name: str, mean: float, quantiles: dict[float, float], accuracies: list[float], table_row: Row
) -> None:
    """Drawn by jaxor, 20,000 seeds; and the original's own 100 draws could come from the same law."""
    from scipy.stats import ks_2samp

    ours = jaxor.simulate(name, seeds=20_000, traces=False, devices=1)
    cells = {f"quantile {q}": f"{np.quantile(ours.initial_loss, q):.3f} ({e})" for q, e in quantiles.items()}
    title = "Initial losses of 20,000 seeds (in brackets: of 400,000 runs of the original's law)"
    table_row(title, experiment=name, mean=f"{ours.initial_loss.mean():.3f} ({mean})", **cells)
    test: Any = ks_2samp(ours.initial_loss, oracle(name)["final_loss"])
    assert test.pvalue > 0.01
    error = 4 * ours.initial_loss.std() / np.sqrt(len(ours))
    assert abs(ours.initial_loss.mean() - mean) < error + 0.005  # the mean is known to two or three digits
    for q, expected in quantiles.items():
        assert (ours.initial_loss < expected).mean() == pytest.approx(
            q, abs=4 * np.sqrt(q * (1 - q) / len(ours)) + 0.003
        )
    shares = [(ours.final_accuracy == quarter / 4).mean() for quarter in range(5)]
    assert_allclose(shares, accuracies, 0, 0.015)


def test_no_success_is_excused() -> None:
    for name, allowance in ALLOWANCES.items():
        assert (oracle(name)["final_accuracy"][sorted(allowance.other_end)] < 1).all()
