"""Whether counts of runs are right, and success shares to three digits.

Counts of epochs are compared with those of the same runs kept one by one, and with the closed form of abs1_convergence
(tests/engine/test_closed_forms.py). Shares are those at which ``--until`` stops.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.calls import environment
from bench.options import devices, parser
from bench.report import machine, publish

EQUAL = ("abs1_convergence", "relu1_normal", "relu2_two_mse_sgd")
SHARES = ("relu1_normal", "relu2_two_mse_sgd")
PART = 10**6
"""Runs kept one by one at a time."""


def main() -> None:
    """Measure, print tables, write JSON and figure."""
    made = parser("bench.populations", __doc__)
    options = made.parse_args()
    devices(options, cpu_only="the numbers would be the same")
    os.environ.update(environment("cpu"))  # before anything imports JAX
    equal = [_equal(name, PART // (10 if options.quick else 1)) for name in EQUAL]
    law = _law(PART if options.quick else 100 * PART)
    shares = [_share(name, 0.005 if options.quick else 0.0005) for name in SHARES]
    _print(equal, law, shares)
    found = {"equal": equal, "law": law, "shares": shares}
    publish("populations", {"machine": machine(), "quick": options.quick, **found})
    if not (law["counts_equal"] and all(row["equal"] for row in equal)):
        sys.exit("counts differ from those of the runs")


def _equal(name: str, seeds: int) -> dict[str, Any]:
    """Whether a histogram of epochs is that of the same runs kept one by one."""
    import jaxor

    epochs = jaxor.simulate(name, seeds, traces=False, parameters="none").epochs
    counted = jaxor.simulate(name, seeds, keep="statistics").epochs
    values, counts = np.unique(epochs, return_counts=True)
    same = np.array_equal(values, counted.values) and np.array_equal(counts, counted.counts)
    return {"experiment": name, "seeds": seeds, "distinct": len(values), "equal": bool(same)}


def _law(seeds: int) -> dict[str, Any]:
    """Runs of abs1_convergence against the closed form on their initial parameters, and the counts of all of them."""
    import jaxor

    sizes = jaxor.get_experiment("abs1_convergence").max_epochs + 1
    agree, law, found = 0, np.zeros(sizes, np.int64), np.zeros(sizes, np.int64)
    for begin in range(0, seeds, PART):
        run = jaxor.simulate("abs1_convergence", range(begin, begin + PART), traces=False)
        expected = np.minimum(_epochs(run.initial_params), sizes - 1)
        agree += int(np.sum(run.epochs == expected))
        law += np.bincount(expected, minlength=sizes)
        found += np.bincount(run.epochs, minlength=sizes)
    started = time.perf_counter()
    counted = jaxor.simulate("abs1_convergence", seeds, keep="statistics").epochs
    seconds = time.perf_counter() - started
    same = np.array_equal(np.flatnonzero(found), counted.values) and np.array_equal(found[found > 0], counted.counts)
    seen = np.flatnonzero(law + found)
    return {
        "experiment": "abs1_convergence",
        "seeds": seeds,
        "agree": agree / seeds,
        "counts_equal": bool(same),
        "seconds": seconds,
        "epochs": seen.tolist(),
        "law": law[seen].tolist(),
        "counted": found[seen].tolist(),
    }


def _epochs(params: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """1 + ceil(ln(r / 10^-3.5) / ln(5/4)), r the distance to the nearer of the solutions +-(1/2, -1/2, 0)."""
    theta, solution = params.astype(float), np.array([0.5, -0.5, 0])
    square = np.minimum(((theta - solution) ** 2).sum(axis=1), ((theta + solution) ** 2).sum(axis=1))
    steps = np.ceil(np.log(square / 1e-7) / (2 * np.log(1.25)))
    return 1 + np.maximum(steps, 0).astype(int)


def _share(name: str, halfwidth: float) -> dict[str, Any]:
    """The success share at which the rule stops, with its confidence sequence, and the time it took."""
    import jaxor

    started = time.perf_counter()
    population = jaxor.simulate(name, keep="statistics", until=f"halfwidth(success)<={halfwidth}")
    low, high = population.success_sequence
    return {
        "experiment": name,
        "halfwidth": halfwidth,
        "share": population.success.share,
        "interval": [low, high],
        "runs": len(population),
        "seconds": time.perf_counter() - started,
    }


def _print(equal: list[Any], law: dict[str, Any], shares: list[Any]) -> None:
    print("\ncounts of epochs against the same runs kept one by one")
    for row in equal:
        verdict = "equal" if row["equal"] else "DIFFERENT"
        print(f"  {row['experiment']:<20}{row['seeds']:>13,} runs, {row['distinct']} numbers of epochs: {verdict}")
    print(f"\n{law['experiment']} against its closed form, {law['seeds']:,} runs")
    print(f"  epochs as the closed form says in {law['agree']:.4%} of them")
    print(f"  counts equal to those of the runs: {law['counts_equal']}")
    print(f"  counted in {law['seconds']:.1f} s with compiling")
    print("\nsuccess shares, to the half-width asked for")
    for row in shares:
        low, high = row["interval"]
        print(
            f"  {row['experiment']:<20}{row['share']:.5f}  95 % confidence sequence {low:.5f} to {high:.5f}, "
            f"{row['runs']:,} runs in {row['seconds']:.1f} s"
        )


if __name__ == "__main__":
    main()
