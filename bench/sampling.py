"""The loss-sampling results, row by row: as printed, by the original code run again, and with 100,000 runs a row.

Also what they do not have: the same without patience, the probability of dead points given the loss, hidden widths from
1 to 64, Adam and gradient descent with the same thresholds, and the best of k for both nets. Takes about ten minutes;
with --quick a tenth of the runs.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from bench.options import parser
from bench.report import machine, publish
from jaxor import Run, get_experiment, simulate
from jaxor.analysis.arms import ratio_of_medians
from jaxor.analysis.diagnostics import dead_points, hidden_layer
from jaxor.analysis.mechanism import exceptions, states
from jaxor.analysis.ranking import Ranking
from jaxor.analysis.solutions import dead_probability
from jaxor.analysis.strategies import strategy
from jaxor.estimates import wilson
from jaxor.report.tables import columns

SEEDS = 100_000
DRAWS = 10_000_000
XOR = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
CLASS_1 = np.array([False, True, True, False])


class Printed(NamedTuple):
    """A row of the results: successes of 50, quartiles and extremes of the epochs of all runs; and what a second run of
    the original code gave for the epochs of successes."""

    experiment: str
    label: str
    successes: int
    epochs: tuple[int, ...] | None
    of_successes: tuple[int, ...] | None
    without_patience: tuple[int, ...] | None


ROWS = (
    Printed(
        "relu1_normal", "one layer, control", 29, (33, 80, 123, 165, 275), (79, 115, 153, 177, 275),
        (91, 124, 153, 177, 275),
    ),
    Printed(
        "relu1_reinit_50th", "below .468", 35, (29, 58, 101, 129, 176), (50, 96, 115, 136, 176),
        (73, 108, 125, 136, 176),
    ),
    Printed(
        "relu1_reinit_25th", "below .325", 43, (20, 71, 105, 120, 160), (48, 95, 111, 121, 160),
        (61, 102, 115, 124, 160),
    ),
    Printed(
        "relu1_reinit_0th", "below .0724", 50, (25, 45, 49, 62, 99), (25, 45, 49, 62, 99), (46, 72, 81, 89, 108),
    ),
    Printed(
        "relu1_reinit_50th_bad", "above .468", 14, (32, 75, 105, 173, 259), (104, 148, 186, 216, 259),
        (119, 163, 186, 216, 259),
    ),
    Printed("relu2_two_mse_sgd", "two layers, control", 10, None, (253, 323, 390, 508, 600), None),
    Printed("relu2_reinit_0th", "below .326", 19, None, (273, 371, 422, 522, 600), None),
)  # fmt: skip
"""Source: loss-sampling results, sections 3.2, 4.2 and A.1; successes of the original code, alanoursland/tr_xor at
196b994 on a CPU, whose counts are those printed."""

FACTORS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 8)
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)


def main() -> None:
    """Measure, print, write."""
    options = parser("bench.sampling", __doc__).parse_args()
    part = 10 if options.quick else 1
    started = time.perf_counter()
    found = {
        "machine": machine(), "seeds": SEEDS // part, "rows": _rows(SEEDS // part), "dead": _dead(DRAWS // part),
        "exceptions": _exceptions(10**6 // part), "optimizers": _optimizers(SEEDS // part),
        "widths": _widths(SEEDS // 5 // part), "scales": _scales(SEEDS // 5 // part),
        "first_batch": _first_batch(512 // part), "best_of": _best_of(10**6 // part),
    }  # fmt: skip
    print(f"\n{time.perf_counter() - started:,.0f} s in all")
    publish("sampling", found | {"seconds": time.perf_counter() - started})


def _rows(seeds: int) -> list[dict[str, Any]]:
    """The tables of the results."""
    rows, controls = [], {}
    for row in ROWS:
        experiment = get_experiment(row.experiment)
        net = row.experiment[:5]
        run = simulate(experiment, seeds, traces="none")
        impatient = simulate(experiment.replace(**{"stop.patience": None}), seeds, traces="none")
        controls.setdefault(net, (run, impatient))
        success = run.final_accuracy == 1
        count = int(success.sum())
        low, high = stats.betabinom.ppf([0.005, 0.995], 50, count + 0.5, seeds - count + 0.5)
        speedups = [
            ratio_of_medians(control.epochs[control.final_accuracy == 1], own.epochs[own.final_accuracy == 1])
            for control, own in zip(controls[net], (run, impatient), strict=True)
        ]
        rows.append({
            "experiment": row.experiment, "label": row.label, "printed": row.successes,
            "success": count / seeds, "interval": wilson(count, seeds), "predicted": (int(low), int(high)),
            "inside": bool(low <= row.successes <= high), "draws": float(run.draws.mean()),
            "epochs_printed": row.epochs, "epochs": _quartiles(run.epochs),
            "of_successes_original": row.of_successes, "of_successes": _quartiles(run.epochs[success]),
            "without_patience_original": row.without_patience,
            "without_patience": _quartiles(impatient.epochs[impatient.final_accuracy == 1]),
            "speedup": speedups[0], "speedup_without_patience": speedups[1],
            "plateaus": _plateaus(run),
        })  # fmt: skip
    heads = ("", "printed, its code", "jaxor", "95 %", "99 % for 50", "", "draws a run")
    print(f"\nSuccess; {seeds:,} runs a row\n")
    print(columns([heads, *(
        (
            r["label"], f"{r['printed']} of 50", f"{100 * r['success']:.2f} %",
            f"{100 * r['interval'].low:.2f} to {100 * r['interval'].high:.2f}",
            f"{r['predicted'][0]} to {r['predicted'][1]}", "inside" if r["inside"] else "OUTSIDE", f"{r['draws']:.2f}",
        )
        for r in rows
    )], "<>>>>>>"))  # fmt: skip
    print("\nEpochs: 0, 25, 50, 75, 100 %\n")
    heads = (
        "",
        "all, printed",
        "all",
        "successes, its code",
        "successes",
        "without patience, its code",
        "without patience",
        "faster",
        "without patience",
    )
    print(columns([heads, *(
        (
            r["label"], _five(r["epochs_printed"]), _five(r["epochs"]), _five(r["of_successes_original"]),
            _five(r["of_successes"]), _five(r["without_patience_original"]), _five(r["without_patience"]),
            _ratio(r["speedup"]), _ratio(r["speedup_without_patience"]),
        )
        for r in rows
    )], "<>>>>>>>>"))  # fmt: skip
    return rows


def _quartiles(epochs: Any) -> list[int]:
    return [] if not len(epochs) else np.floor(np.percentile(epochs, [0, 25, 50, 75, 100])).astype(int).tolist()


def _five(values: Any) -> str:
    return " ".join(map(str, values)) if values else "-"


def _ratio(ratio: Any) -> str:
    return "-" if ratio is None else f"{ratio.value:.2f} ({ratio.interval.low:.2f} to {ratio.interval.high:.2f})"


def _plateaus(run: Run) -> dict[str, int]:
    """Failed runs by final loss, to two digits."""
    losses, counts = np.unique(run.final_loss[run.final_accuracy < 1].round(2), return_counts=True)
    order = np.argsort(-counts)[:5]
    return {f"{losses[i]:.2f}": int(counts[i]) for i in order}


def _state(run: Run) -> Any:
    return states(dead_points(hidden_layer(run.initial_params, run.param_names), XOR), CLASS_1)


def _dead(draws: int) -> dict[str, Any]:
    """How often some class-1 point is dead at the start, given the initial loss."""
    run = simulate(get_experiment("relu1_init_dist"), draws, traces="none", parameters="both")
    dead, loss = _state(run) == 2, run.initial_loss
    exact = {"all": 0.5, "below .0724": 0.0, "below .325": 0.2254, "below .468": 0.3896, "above .468": 0.5952}
    masks = {
        "all": np.ones(len(loss), bool), "below .0724": loss < 0.0724, "below .325": loss < 0.325,
        "below .468": loss < 0.468, "above .468": loss > 0.468,
    }  # fmt: skip
    found = {
        name: {
            "runs": int(mask.sum()), "dead": int(dead[mask].sum()), "expected": exact[name],
            "interval": wilson(int(dead[mask].sum()), int(mask.sum())),
        }
        for name, mask in masks.items()
    }  # fmt: skip
    assert dead_probability(2)[0] == exact["all"]
    print(f"\nSome class-1 point dead at the start, given the initial loss; {draws:,} draws\n")
    print(columns([("", "draws", "dead", "95 %", "expected"), *(
        (
            name, f"{one['runs']:,}", f"{one['dead'] / one['runs']:.5f}",
            f"{one['interval'].low:.5f} to {one['interval'].high:.5f}", f"{one['expected']:.4f}",
        )
        for name, one in found.items()
    )], "<>>>>"))  # fmt: skip
    return found


def _exceptions(seeds: int) -> dict[str, Any]:
    """Gradient descent and Adam: success exactly if no class-1 point is dead."""
    found = {}
    for name in ("relu1_convergence", "relu1_normal"):
        run = simulate(get_experiment(name), seeds, traces="none")
        odd = exceptions(_state(run), run.final_accuracy == 1)
        found[name] = odd._asdict() | {"share": odd.share.share}
        print(
            f"\n{name}, {seeds:,} runs: success exactly if no class-1 point is dead but for "
            f"{odd.dead_succeeded:,} that succeeded with one and {odd.alive_failed:,} that failed without "
            f"({100 * (odd.share.share or 0):.3f} %)"
        )
    return found


def _optimizers(seeds: int) -> list[dict[str, Any]]:
    """Adam and gradient descent with the same thresholds."""
    rows = []
    sgd = {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "stop.patience": 20}
    for label, changes in (("Adam .01", {}), ("gradient descent .1", sgd)):
        control = None
        for name in ("relu1_normal", "relu1_reinit_50th", "relu1_reinit_25th", "relu1_reinit_0th"):
            run = simulate(get_experiment(name).replace(**changes), seeds, traces="none")
            success = run.final_accuracy == 1
            control = control or run
            ratio = ratio_of_medians(control.epochs[control.final_accuracy == 1], run.epochs[success])
            rows.append({
                "optimizer": label, "experiment": name, "success": float(success.mean()),
                "interval": wilson(int(success.sum()), seeds), "median": float(np.median(run.epochs[success])),
                "faster": ratio,
            })  # fmt: skip
    print("\nAdam and gradient descent\n")
    print(columns([("", "", "success", "epochs", "faster"), *(
        (r["optimizer"], r["experiment"], f"{100 * r['success']:.2f} %", f"{r['median']:.0f}", _ratio(r["faster"]))
        for r in rows
    )], "<<>>>"))  # fmt: skip
    return rows


def _widths(seeds: int) -> list[dict[str, Any]]:
    """Hidden units of one layer from 1 to 64: what becomes of a threshold and of percentiles."""
    rows = []
    for units in WIDTHS:
        control = get_experiment("relu1_normal").replace(**{"model.units": units})
        run = simulate(control, seeds, traces="none")
        success = run.final_accuracy == 1
        ranking = Ranking.of(run.initial_loss, success, run.steps, run.epochs)
        tenth, hundredth = ranking.below(0.1), ranking.below(0.01)
        rows.append({
            "units": units, "success": float(success.mean()), "interval": wilson(int(success.sum()), seeds),
            "epochs": float(run.epochs[success].mean()) if success.any() else None,
            "q10": float(np.quantile(run.initial_loss, 0.1)), "median": float(np.median(run.initial_loss)),
            "below_relu1_0th": float(np.mean(run.initial_loss < 0.0724)),
            "tenth": tenth, "hundredth": hundredth,
        })  # fmt: skip
    heads = (
        "units",
        "success",
        "epochs",
        "median loss",
        "10 % loss",
        "P(< .0724)",
        "lowest 10 %",
        "epochs",
        "lowest 1 %",
        "epochs",
    )
    print("\nHidden units, one layer, Adam\n")
    print(columns([heads, *(
        (
            str(r["units"]), f"{100 * r['success']:.1f} %", _mean(r["epochs"]), f"{r['median']:.3f}", f"{r['q10']:.3f}",
            f"{r['below_relu1_0th']:.4f}", f"{100 * r['tenth'].success:.1f} %", _mean(r["tenth"].epochs),
            f"{100 * r['hundredth'].success:.1f} %", _mean(r["hundredth"].epochs),
        )
        for r in rows
    )], ">>>>>>>>>>"))  # fmt: skip
    return rows


def _scales(seeds: int) -> list[dict[str, Any]]:
    """Initial weights multiplied by a factor: is there a best initial radius (the Goldilocks zone)?"""
    rows = []
    for name in ("relu1_normal", "relu2_two_mse_sgd"):
        for factor in FACTORS:
            experiment = strategy(f"scaled:{factor}", get_experiment(name)).experiment
            run = simulate(experiment, seeds, traces="none")
            success = run.final_accuracy == 1
            rows.append({
                "experiment": name, "factor": factor, "success": float(success.mean()),
                "interval": wilson(int(success.sum()), seeds), "epochs": _quartiles(run.epochs[success]),
                "radius": float(np.linalg.norm(run.initial_params, axis=1).mean()),
            })  # fmt: skip
    print("\nInitial weights times a factor\n")
    print(columns([("", "factor", "mean radius", "success", "epochs of successes"), *(
        (r["experiment"], f"{r['factor']:g}", f"{r['radius']:.2f}", f"{100 * r['success']:.1f} %", _five(r["epochs"]))
        for r in rows
    )], "<>>>>"))  # fmt: skip
    return rows


def _first_batch(seeds: int) -> list[dict[str, Any]]:
    """A deep net on digits: epochs until a batch's loss is below .02, from draws with a low loss on the first batch."""
    control = get_experiment("digits_mlp").replace(**{"stop.loss": 0.02, "max_epochs": 200})
    rows, first = [], None
    for name in ("control", "first-batch:10", "first-batch:100", "best:10", "best:100"):
        experiment = control if name == "control" else strategy(name, control).experiment
        run = simulate(experiment, seeds, traces="none", parameters="none")
        first = run if first is None else first
        rows.append({
            "strategy": name, "steps": _quartiles(run.steps), "initial_loss": float(run.initial_loss.mean()),
            "faster": ratio_of_medians(first.steps, run.steps),
        })  # fmt: skip
    print(f"\ndigits_mlp until the batch's loss is below .02, {seeds:,} runs each\n")
    print(columns([("", "mean initial loss", "steps", "faster"), *(
        (r["strategy"], f"{r['initial_loss']:.3f}", _five(r["steps"]), _ratio(r["faster"])) for r in rows
    )], "<>>>"))  # fmt: skip
    return rows


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _best_of(seeds: int) -> dict[str, Any]:
    """The best of k, from one population without selection."""
    found = {}
    for name in ("relu1_normal", "relu2_two_mse_sgd"):
        run = simulate(get_experiment(name), seeds, traces="none", parameters="none")
        ranking = Ranking.of(run.initial_loss, run.final_accuracy == 1, run.steps, run.epochs)
        found[name] = {k: ranking.best_of(k) for k in KS}
    rows = [("k", *(text for name in found for text in (name, "epochs", "cost at 1", "at 10", "at 100")))]
    for k in KS:
        cells = []
        for outcomes in found.values():
            one = outcomes[k]
            cells += [
                f"{100 * one.success:.2f} %",
                _mean(one.epochs),
                *(f"{one.cost(cost):,.0f}" for cost in (1, 10, 100)),
            ]
        rows.append((f"{k:,}", *cells))
    print(
        f"\nThe best of k draws, from {seeds:,} runs each; cost: steps for a success if a draw costs 1, 10, 100 steps\n"
    )
    print(columns(rows, ">" * len(rows[0])))
    return found


if __name__ == "__main__":
    main()
