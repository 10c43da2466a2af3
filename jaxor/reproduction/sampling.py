"""Loss-based sampling of first parameters: every figure of the results, as their own procedure gives it.

Their epochs are those of all runs, failures included, and percentiles are cut to whole epochs; both is done here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.diagnostics import mirror_pairs
from jaxor.analysis.subject import Subject
from jaxor.experiments.catalog import get_experiment
from jaxor.reproduction.claims import Claim, Finding, Floats, Measured, Table, exactly, of_samples
from jaxor.simulation import simulate
from jaxor.store.run import Run

DOCUMENT = "Loss-Based Sampling Initialization for Neural Networks"

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


def _arms(experiments: Mapping[str, str], runs: int, watch: Callable[[str], Any]) -> dict[str, Run]:
    arms = {}
    for arm, name in experiments.items():
        watch(name)
        arms[arm] = simulate(name, seeds=runs, traces="none")
    return arms


def _of_arms(arms: Mapping[str, Run]) -> dict[str, Measured]:
    """Success and epochs of each arm, and gains over the control."""
    found: dict[str, Measured] = {}
    for arm, run in arms.items():
        success, epochs = run.final_accuracy == 1, run.epochs.astype(np.float64)
        found[f"{arm}/success"] = of_samples(_share, RUNS, success)
        found |= {f"{arm}/{name}": of_samples(taken, RUNS, epochs) for name, taken in OF_EPOCHS.items()}
        if arm != "control":
            control = arms["control"].final_accuracy == 1
            other = np.random.default_rng(1).permutation(success)  # not the same seeds side by side
            found[f"{arm}/gain"] = of_samples(_gain, RUNS, control, other)
    return found


def _gain(control: NDArray[Any], other: NDArray[Any]) -> Floats:
    """Of success, in parts of the control's; NaN where the control has none."""
    before, after = _share(control), _share(other)
    return np.divide(after, before, out=np.full(len(before), np.nan), where=before > 0) - 1


def _of_first_losses(name: str, runs: int, watch: Callable[[str], Any]) -> tuple[dict[str, Measured], Run]:
    """What the distribution of initial losses and accuracies is."""
    watch(name)
    run = simulate(name, seeds=runs, traces="none")
    found: dict[str, Measured] = {
        f"initial/{statistic}": of_samples(taken, SCANNED, run.initial_loss.astype(np.float64))
        for statistic, taken in OF_LOSSES.items()
    }
    for percent in (100, 75, 50):
        found[f"initial/accuracy_{percent}"] = of_samples(_share, SCANNED, run.final_accuracy == percent / 100)
    found["initial/accuracy_25"] = of_samples(_share, SCANNED, run.final_accuracy <= 0.25)
    return found, run


def one_layer(runs: int, watch: Callable[[str], Any]) -> Mapping[str, Measured]:
    """Sections 3, 5.3 and A.1 to A.3: ReLU(w0 x + b0) + ReLU(w1 x + b1), Adam."""
    found, scanned = _of_first_losses("relu1_init_dist", 2 * runs, watch)
    arms = _arms(ONE_LAYER, runs, watch)
    found |= _of_arms(arms)
    epochs = {arm: run.epochs.astype(np.float64) for arm, run in arms.items()}
    best = np.random.default_rng(2).permutation(epochs["below_0"])
    median = OF_EPOCHS["median"]
    found["speedup"] = of_samples(lambda one, other: median(one) / median(other), RUNS, epochs["control"], best)
    found["saved"] = of_samples(lambda one, other: median(one) - median(other), RUNS, epochs["control"], best)
    for arm in ("control", "below_0"):
        found[f"{arm}/width"] = of_samples(lambda e: np.ptp(e, axis=1), RUNS, epochs[arm])
        found[f"{arm}/mirror"] = of_samples(_share, RUNS, _mirrored(arms[arm]))
    for arm, threshold in (("below_50", 0.468), ("below_25", 0.325), ("below_0", 0.0724)):
        found[f"{arm}/probability"] = of_samples(_share, SCANNED, scanned.initial_loss < threshold)
        draws = arms[arm].draws
        assert draws is not None  # noqa: S101 (their initializers choose)
        found[f"{arm}/draws"] = of_samples(OF_EPOCHS["mean"], RUNS, draws.astype(np.float64))
    of_successes = {arm: float(np.median(run.epochs[run.final_accuracy == 1])) for arm, run in arms.items()}
    found["of_successes"] = Finding(
        bool(of_successes["control"] == np.median(epochs["control"])),
        "medians over successes: " + ", ".join(f"{NAMES[arm]} {median:.0f}" for arm, median in of_successes.items()),
    )
    shares = [float(np.mean(arms[arm].final_accuracy == 1)) for arm in ("above_50", *list(ONE_LAYER)[:4])]
    found["monotonic"] = Finding(
        shares == sorted(shares), "success above .468, of all, below .468, .325, .0724: "
        + ", ".join(f"{share:.3f}" for share in shares),
    )  # fmt: skip
    return found


def _mirrored(run: Run) -> NDArray[np.bool_]:
    """Runs with accuracy of .75 or more whose units have opposite weights."""
    return mirror_pairs(Subject(run).final.weight).found & (run.final_accuracy >= 0.75)


def two_layers(runs: int, watch: Callable[[str], Any]) -> Mapping[str, Measured]:
    """Sections 4 and A.2: Linear(2, 2), ReLU, Linear(2, 2), SGD, one-hot targets."""
    found, _ = _of_first_losses("relu2_init_dist", 2 * runs, watch)
    arms = _arms(TWO_LAYERS, runs, watch)
    found |= _of_arms(arms)
    found["parameters"] = exactly(len(arms["control"].param_names))
    failed = arms["control"].final_accuracy < 1
    loss = arms["control"].final_loss[failed]
    found["at_limit"] = Finding(
        bool((arms["control"].epochs[failed] == 600).all()),
        f"{np.mean(arms['control'].epochs[failed] == 600):.4f} of {failed.sum():,} failures took 600 epochs",
    )
    targets = np.asarray(get_experiment(TWO_LAYERS["control"]).build().task.targets)
    found["half_everywhere"] = exactly(float(np.mean((targets - 0.5) ** 2)))
    found["plateau"] = Finding(
        bool(np.median(np.abs(loss - 0.125)) < 0.01),
        f"{np.mean(np.abs(loss - 0.125) < 0.01):.3f} of {failed.sum():,} failures end within .01 of .125",
    )
    return found


def _arm_claims() -> tuple[Claim, ...]:
    printed = {
        "control": ("29/50", "123", "33", "275"), "below_50": ("35/50", "101", "29", "176"),
        "below_25": ("43/50", "105", "20", "160"), "below_0": ("50/50", "49", "25", "99"),
        "above_50": ("14/50", "105", "32", "259"),
    }  # fmt: skip
    gains = {"below_50": "21 %", "below_25": "48 %", "below_0": "72 %", "above_50": "-52 %"}
    spread = {
        "control": ("80", "165", "126.3", "54.2"), "below_50": ("58", "129", "97.4", "41.8"),
        "below_25": ("71", "120", "96.1", "32.1"), "below_0": ("45", "62", "53.8", "17.3"),
    }  # fmt: skip
    claims = []
    for arm, figures in printed.items():
        for key, what, figure in zip(
            ("success", "median", "shortest", "longest"),
            ("success", "median epochs", "fewest epochs", "most epochs"), figures, strict=True,
        ):  # fmt: skip
            claims.append(Claim(f"{arm}/{key}", "3.2", f"{NAMES[arm]}: {what}", figure))
        if arm in gains:
            claims.append(Claim(f"{arm}/gain", "3.2", f"{NAMES[arm]}: more success than the control", gains[arm]))
    for arm, figures in spread.items():
        for key, what, figure in zip(
            ("q25", "q75", "mean", "sd"), ("lower quartile", "upper quartile", "mean", "standard deviation"),
            figures, strict=True,
        ):  # fmt: skip
            claims.append(Claim(f"{arm}/{key}", "A.1", f"{NAMES[arm]}: {what} of epochs", figure))
    return tuple(claims)


def _initial(where: str, losses: tuple[str, ...], accuracies: tuple[str, ...]) -> tuple[Claim, ...]:
    what = ("mean", "median", "lower quartile", "lowest", "highest")
    claims = [Claim(f"initial/{key}", where, f"initial loss: {text} of 100", figure)
              for key, text, figure in zip(OF_LOSSES, what, losses, strict=True)]  # fmt: skip
    levels = {100: "100 %", 75: "75 %", 50: "50 %", 25: "25 % or less"}
    claims += [Claim(f"initial/accuracy_{key}", where, f"share that starts at accuracy {text}", figure)
               for (key, text), figure in zip(levels.items(), accuracies, strict=True)]  # fmt: skip
    return tuple(claims)


TABLES = (
    Table(
        "sampling-one-layer", DOCUMENT, "One layer, Adam: 50 runs a strategy",
        (
            *_initial("3.1", ("0.581", "0.468", "0.325", "0.072", "1.85"), ("3 %", "23 %", "51 %", "23 %")),
            Claim("of_successes", "2.3", "epochs are those of successful runs", "yes",
                  "They are of all runs: failures end early by the patience rule and make medians smaller."),
            *_arm_claims(),
            Claim("speedup", "3.3", "median epochs, control over < .072", "2.5x"),
            Claim("control/width", "3.3", "control: range of epochs", "242"),
            Claim("below_0/width", "3.3", "< .072: range of epochs", "74"),
            Claim("monotonic", "3.3", "a lower initial loss, a higher success", "yes"),
            Claim("control/mirror", "3.4", "control: runs with mirrored weights", "29/50"),
            Claim("below_0/mirror", "3.4", "< .072: runs with mirrored weights", "50/50"),
            Claim("saved", "5.3", "epochs saved, control less < .072", "74"),
            Claim("below_50/probability", "A.3", "probability of a loss below .468", "50 %"),
            Claim("below_25/probability", "A.3", "probability of a loss below .325", "25 %"),
            Claim("below_0/probability", "A.3", "probability of a loss below .072", "1 %"),
            Claim("below_50/draws", "A.3", "draws needed for < .468", "2"),
            Claim("below_25/draws", "A.3", "draws needed for < .325", "4"),
            Claim("below_0/draws", "A.3", "draws needed for < .072", "100"),
        ),
        one_layer, 10_000, 1_000_000,
    ),
    Table(
        "sampling-two-layers", DOCUMENT, "Two layers, SGD: 50 runs a strategy",
        (
            *_initial("4.1", ("1.36", "0.908", "0.644", "0.326", "5.63"), ("0 %", "11 %", "74 %", "15 %")),
            Claim("control/success", "4.2", "control: success", "10/50"),
            Claim("control/q10", "4.2", "control: tenth percentile of epochs", "410"),
            Claim("below_0/success", "4.2", "< .326: success", "19/50"),
            Claim("below_0/q10", "4.2", "< .326: tenth percentile of epochs", "379"),
            Claim("below_0/gain", "4.2", "< .326: more success than the control", "90 %"),
            Claim("at_limit", "4.2", "runs that fail take 600 epochs", "yes"),
            Claim(
                "parameters", "2.1", "parameters", "10",
                "Two layers of 2 by 2 weights and 2 biases have 12.",
            ),
            Claim("plateau", "4.3", "runs that fail end on a plateau of .125", "yes"),
            Claim(
                "half_everywhere", "A.2", "loss where all outputs are 0.5", "0.125",
                "All errors are then .5, and their mean square .25. At .125 two points are right and two are at .5.",
            ),
        ),
        two_layers, 10_000, 1_000_000,
    ),
)  # fmt: skip
