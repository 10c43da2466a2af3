"""Loss-based sampling of first parameters: every figure of the results, as their own procedure gives it.

Their epochs are those of all runs, failures included, and percentiles are cut to whole epochs; both is done here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.answers import answers
from jaxor.analysis.arms import states_of
from jaxor.analysis.diagnostics import dead_units, mirror_pairs
from jaxor.analysis.mechanism import rank_correlation
from jaxor.analysis.solutions import solution_distance
from jaxor.analysis.subject import Subject
from jaxor.experiments.catalog import get_experiment
from jaxor.reproduction.figures import Figure, Finding, Floats, Measured, Missing, above, exactly, of_samples
from jaxor.reproduction.work import Work
from jaxor.simulation import simulate
from jaxor.store.run import Run

RUNS, SCANNED = 50, 100
"""Of each strategy, and initial losses that were looked at."""

ONE_LAYER = {
    "control": "relu1_normal",
    "below_50": "relu1_reinit_50th",
    "below_25": "relu1_reinit_25th",
    "below_0": "relu1_reinit_0th",
    "above_50": "relu1_reinit_50th_bad",
}
NAMES = {"control": "control", "below_50": "< .468", "below_25": "< .325", "below_0": "< .072", "above_50": "> .468"}
TWO_LAYERS = {"control": "relu2_two_mse_sgd", "below_0": "relu2_reinit_0th"}

PRINTED = {
    "control": ("29/50", "123", "33", "275"), "below_50": ("35/50", "101", "29", "176"),
    "below_25": ("43/50", "105", "20", "160"), "below_0": ("50/50", "49", "25", "99"),
    "above_50": ("14/50", "105", "32", "259"),
}  # fmt: skip
"""Success, and median, fewest and most epochs of each strategy with one layer."""

LIMIT = 600
"""Epochs of two layers."""

LOOKED_AT = 100_000
"""Runs on a plateau of which answers are computed, at most."""

ADVICE = "easiest", "hardest", "fewest_draws", "most_draws", "lowest_share", "highest_share"
"""Ends of ranges that are recommended."""

Statistic = Callable[[Floats], Floats]


def percentile(share: float) -> Statistic:
    """Percentiles of samples (samples, size) as the results take them: cut to a whole number."""
    return lambda epochs: np.floor(np.percentile(epochs, share, axis=1))


OF_EPOCHS: Mapping[str, Statistic] = {
    "median": percentile(50), "q25": percentile(25), "q75": percentile(75), "q10": percentile(10),
    "shortest": lambda epochs: epochs.min(axis=1), "longest": lambda epochs: epochs.max(axis=1),
    "mean": lambda epochs: epochs.mean(axis=1), "sd": lambda epochs: epochs.std(axis=1, ddof=1),
}  # fmt: skip

OF_LOSSES: Mapping[str, Statistic] = {
    "mean": lambda loss: loss.mean(axis=1), "median": lambda loss: np.median(loss, axis=1),
    "q25": lambda loss: np.percentile(loss, 25, axis=1), "lowest": lambda loss: loss.min(axis=1),
    "highest": lambda loss: loss.max(axis=1),
}  # fmt: skip


def _share(flags: NDArray[Any]) -> Floats:
    return np.asarray(flags, np.float64).mean(axis=1)


def _arms(experiments: Mapping[str, str], runs: int, work: Work, **changes: Any) -> dict[str, Run]:
    arms = {}
    for arm, name in experiments.items():
        work.watch(f"{name}: {runs:,} runs")
        arms[arm] = simulate(get_experiment(name).replace(**changes), seeds=runs, traces="none")
    return arms


def _of_arms(arms: Mapping[str, Run]) -> dict[str, Measured]:
    """Success and epochs of each arm, and gains over the control."""
    found: dict[str, Measured] = {}
    for arm, run in arms.items():
        success, epochs = run.final_accuracy == 1, run.epochs.astype(np.float64)
        found[f"{arm}/success"] = of_samples(_share, RUNS, success)
        found[f"{arm}/failure"] = of_samples(_share, RUNS, ~success)
        found |= {f"{arm}/{name}": of_samples(taken, RUNS, epochs) for name, taken in OF_EPOCHS.items()}
        if arm != "control":
            control = arms["control"].final_accuracy == 1
            other = np.random.default_rng(1).permutation(success)  # not the same seeds side by side
            found[f"{arm}/gain"] = of_samples(_gain, RUNS, control, other)
            found[f"{arm}/more"] = of_samples(lambda one, two: _share(two) - _share(one), RUNS, control, other)
    return found


def _gain(control: NDArray[Any], other: NDArray[Any]) -> Floats:
    """Of success, in parts of the control's; NaN where the control has none."""
    before, after = _share(control), _share(other)
    return np.divide(after, before, out=np.full(len(before), np.nan), where=before > 0) - 1


def _of_first_losses(name: str, runs: int, work: Work) -> tuple[dict[str, Measured], Run]:
    """What the distribution of initial losses and accuracies is."""
    work.watch(f"{name}: {runs:,} draws")
    run = simulate(name, seeds=runs, traces="none")
    found: dict[str, Measured] = {
        f"initial/{statistic}": of_samples(taken, SCANNED, run.initial_loss.astype(np.float64))
        for statistic, taken in OF_LOSSES.items()
    }
    for percent in (100, 75, 50):
        found[f"initial/accuracy_{percent}"] = of_samples(_share, SCANNED, run.final_accuracy == percent / 100)
    found["initial/accuracy_25"] = of_samples(_share, SCANNED, run.final_accuracy <= 0.25)
    return found, run


def one_layer(runs: int, work: Work) -> Mapping[str, Measured]:
    """Sections 2 to 7, A.1 and A.3 of ReLU(w0 x + b0) + ReLU(w1 x + b1)."""
    found, scanned = _of_first_losses("relu1_init_dist", 2 * runs, work)
    arms = _arms(ONE_LAYER, runs, work)
    ends = {arm: ONE_LAYER[arm] for arm in ("control", "below_0")}
    patient = _arms(ends, runs, work, **{"stop.patience": None})
    descent = _arms(ends, runs, work, **{"stop.patience": None, "optimizer": {"name": "sgd", "learning_rate": 0.1}})
    found |= _of_arms(arms) | _of_speed(arms) | _of_starts(arms)
    for arm in ends:
        found[f"{arm}/width"] = of_samples(lambda e: np.ptp(e, axis=1), RUNS, _epochs(arms[arm]))
        found[f"{arm}/mirror"] = of_samples(_share, RUNS, _mirrored(arms[arm]))
    for arm, threshold in (("below_50", 0.468), ("below_25", 0.325), ("below_0", 0.0724)):
        found[f"{arm}/probability"] = of_samples(_share, SCANNED, scanned.initial_loss < threshold)
        found[f"{arm}/draws"] = of_samples(OF_EPOCHS["mean"], RUNS, _draws(arms[arm]))
    shares = [float(np.mean(arms[arm].final_accuracy == 1)) for arm in ("above_50", *list(ONE_LAYER)[:4])]
    return found | {
        "parameters": exactly(len(arms["control"].param_names)),
        "monotonic": Finding(
            shares == sorted(shares), "success above .468, of all, below .468, .325, .072: "
            + ", ".join(f"{share:.3f}" for share in shares),
        ),
        "optimizers": _optimizers(patient, descent),
        "fort": Missing("it is of another paper's nets and data; `jaxor sampling` has the strategy, first-batch"),
        **dict.fromkeys(ADVICE, Missing("advice without a measurement behind it; two tasks cannot bear out a range")),
    }  # fmt: skip


def _epochs(run: Run) -> Floats:
    return run.epochs.astype(np.float64)


def _draws(run: Run) -> Floats:
    return run.draws.astype(np.float64)


def _of_success(run: Run) -> Floats:
    """Epochs of successful runs, NaN for the others."""
    return np.where(run.final_accuracy == 1, run.epochs, np.nan)


def _pace(*runs: Run) -> Figure:
    """Median epochs of successes of the first over that of the second, beside that of two more if there are."""

    def ratio(*epochs: Floats) -> Floats:
        medians = [np.nanmedian(one, axis=1) for one in epochs]
        return medians[0] / medians[1] * (medians[3] / medians[2] if len(medians) == 4 else 1)

    orders = (np.random.default_rng(place).permutation(len(run)) for place, run in enumerate(runs))
    return of_samples(ratio, RUNS, *(_of_success(run)[order] for run, order in zip(runs, orders, strict=True)))


def _of_speed(arms: Mapping[str, Run]) -> dict[str, Measured]:
    """Epochs of the lowest threshold beside the control's, as the results count them; whose they are."""
    control, best = (_epochs(arms[arm]) for arm in ("control", "below_0"))
    best = np.random.default_rng(2).permutation(best)
    median = OF_EPOCHS["median"]
    saved = of_samples(lambda one, other: median(one) - median(other), RUNS, control, best)
    draws = float(_draws(arms["below_0"]).mean())
    return {
        "speedup": of_samples(lambda one, other: median(one) / median(other), RUNS, control, best),
        "faster": of_samples(lambda one, other: 1 - median(other) / median(one), RUNS, control, best),
        "saved": saved,
        "cost": Finding(
            draws / 3 <= saved.value / 10,
            f"{draws:.0f} forward passes, {draws / 3:.0f} epochs at three an epoch, beside {saved.value:.0f} saved; "
            "a tenth is enough",
        ),
        "of_successes": _of_successes(arms),
    }  # fmt: skip


def _of_successes(arms: Mapping[str, Run]) -> Finding:
    """Whether the epochs that are printed may be those of successful runs alone."""
    statistics = {"median": np.nanmedian, "fewest": np.nanmin, "most": np.nanmax}
    said, outside = [], 0
    for arm, run in arms.items():
        for (what, taken), printed in zip(statistics.items(), PRINTED[arm][1:], strict=True):
            found = of_samples(lambda epochs, taken=taken: np.floor(taken(epochs, axis=1)), RUNS, _of_success(run))
            low, high = found.range
            if not low <= float(printed) <= high:
                outside += 1
                said.append(f"{NAMES[arm]}, {what}: {printed}, of successes {low:.0f} to {high:.0f}")
    return Finding(
        not outside, f"{outside} of {3 * len(arms)} figures are not what samples of successes give; {'; '.join(said)}"
    )


def _of_starts(arms: Mapping[str, Run]) -> dict[str, Measured]:
    """What a low loss says of where a run starts, and of its units."""
    control, best = arms["control"], arms["below_0"]
    distance = solution_distance(control.initial_params, control.param_names, control.experiment.to_dict())
    assert distance is not None  # noqa: S101 (it is known of this model)
    success = control.final_accuracy == 1
    near, fast = (
        rank_correlation(control.initial_loss, distance), rank_correlation(distance[success], control.epochs[success])
    )  # fmt: skip
    states = [np.asarray(states_of(run)) for run in (control, best)]
    no_gradient = [float(np.mean(state == 2)) for state in states]
    ends = Subject(control), Subject(best)
    dead, dead_best = (np.asarray(dead_units(end.final, end.task.inputs).any(axis=1)) for end in ends)
    shares = [float(flags.mean()) for flags in (dead[success], dead[~success])]
    return {
        "proxy": Finding(
            near > 0.5, f"Spearman's correlation of loss and distance to a solution is {near:.2f}; .5 is enough"
        ),
        "near_is_fast": Finding(fast > 0.5, f"that of distance and epochs of successes is {fast:.2f}; .5 is enough"),
        "no_gradient": Finding(
            no_gradient[1] < no_gradient[0],
            "a point of class 1 has no active unit at the start of {:.1%} of the control's runs, of {:.1%} below "
            ".072".format(*no_gradient),
        ),
        "dead_units": Finding(
            min(shares) > 0,
            "a unit is dead after training in {:.1%} of successes, {:.1%} of failures; ".format(*shares)
            + f"at the start of {np.mean(states[0][success] > 0):.1%} of successes some point has no active unit",
        ),
        "activity": Finding(
            bool(dead_best.mean() < dead.mean()),
            f"a unit is dead after training in {dead.mean():.1%} of the control, {dead_best.mean():.1%} below .072",
        ),
    }  # fmt: skip


def _mirrored(run: Run) -> NDArray[np.bool_]:
    """Runs with accuracy of .75 or more whose units have opposite weights."""
    return mirror_pairs(Subject(run).final.weight).found & (run.final_accuracy >= 0.75)


def _optimizers(adam: Mapping[str, Run], descent: Mapping[str, Run]) -> Finding:
    """What the lowest threshold gains with each."""
    runs = [arms[arm] for arms in (adam, descent) for arm in ("control", "below_0")]
    a, b, c, d = (float(np.mean(run.final_accuracy == 1)) for run in runs)
    return Finding(
        above(_pace(*runs), 1),
        f"below .072 successes are {_pace(*runs[:2]).value:.2f} times as fast with Adam, {_pace(*runs[2:]).value:.2f} "
        f"with gradient descent; success goes from {a:.1%} to {b:.1%}, and from {c:.1%} to {d:.1%}",
    )


def two_layers(runs: int, work: Work) -> Mapping[str, Measured]:
    """Sections 4 and A.2: Linear(2, 2), ReLU, Linear(2, 2), SGD, one-hot targets."""
    found, _ = _of_first_losses("relu2_init_dist", 2 * runs, work)
    arms = _arms(TWO_LAYERS, runs, work)
    control, best = arms.values()
    longer = _arms({"control": TWO_LAYERS["control"]}, runs // 10, work, max_epochs=10 * LIMIT)["control"]
    failed = control.final_accuracy < 1
    capped = float(np.mean(control.epochs[failed] == LIMIT))
    late = float(np.mean(longer.final_accuracy[failed[: runs // 10]] < 1))
    targets = np.asarray(get_experiment(TWO_LAYERS["control"]).build().task.targets)
    return found | _of_arms(arms) | _of_plateau(control) | {
        "parameters": exactly(len(control.param_names)),
        "at_limit": Finding(capped == 1, f"{capped:.2%} of {failed.sum():,} failures took {LIMIT} epochs"),
        "stuck": Finding(
            late > 0.95, f"{late:.1%} of failures still fail after ten times as many epochs; 95% are enough"
        ),
        "faster": Finding(
            above(_pace(control, best), 1),
            "median epochs of successes: control {:.0f}, < .326 {:.0f}".format(
                *(np.nanmedian(_of_success(run)) for run in (control, best))
            ),
        ),
        "half_everywhere": exactly(float(np.mean((targets - 0.5) ** 2))),
    }  # fmt: skip


def _of_plateau(run: Run) -> dict[str, Measured]:
    """Where failed runs end, and what those that end at a loss of 1/8 answer."""
    failed = np.flatnonzero(run.final_accuracy < 1)
    close = np.abs(run.final_loss[failed] - 0.125) < 0.01
    there = failed[close][:LOOKED_AT]
    said = answers(run.experiment, run.final_params[there])
    halves = np.abs(said.outputs - 0.5).max(axis=2) < 0.05
    everywhere = float(np.mean(halves.sum(axis=1) == halves.shape[1]))
    first = np.asarray(run.experiment.build().task.targets)[:, 0] == 1
    of_class = np.stack([said.errors[:, first].mean(axis=1), said.errors[:, ~first].mean(axis=1)])
    one_sided = float(np.mean((of_class.min(axis=0) < 0.05) & (of_class.max(axis=0) > 0.2)))
    return {
        "plateau": Finding(
            bool(close.mean() > 0.5),
            f"{close.mean():.1%} of {len(failed):,} failures end within .01 of .125; half are enough",
        ),
        "halves": Finding(
            everywhere > 0.5,
            f"it is in {everywhere:.1%} of {len(there):,} runs at .125; on average at "
            f"{halves.sum(axis=1).mean():.2f} of the four points",
        ),
        "one_class": Finding(
            one_sided > 0.5,
            f"in {one_sided:.1%} of them; mean errors by class: {of_class[0].mean():.3f}, {of_class[1].mean():.3f}",
        ),
    }  # fmt: skip
