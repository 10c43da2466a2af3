"""The convergence-time article's own 3,345 rows: its eleven regressors as published, least squares, and laws.

The rows are in tests/data/regression. Takes about three minutes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.options import parser
from bench.report import machine, write
from jaxor.analysis.design import Design
from jaxor.analysis.judge import Judge, Judged
from jaxor.analysis.judgement import Candidate
from jaxor.analysis.laws import Line, LogLaw, ShiftedLogLaw
from jaxor.analysis.published import article_r2, published
from jaxor.analysis.rows import Rows
from jaxor.experiments.catalog import get_experiment
from jaxor.report.tables import columns

ROWS = Path(__file__).parents[1] / "tests/data/regression/abs1_regression_dataset.npz"
STATES = range(5)


def main() -> None:
    """Measure, print, write."""
    parser("bench.article", __doc__).parse_args()
    design = article_design()
    judge = Judge(design, np.zeros(len(design), bool), folds=10, fold_rows=len(design), level=0.9, random_state=42)
    as_published = [_published(judge, design, name) for name in article_r2]
    print("\nR2 of the eleven regressors; in-sample with five initialisations, as the article's all are\n")
    heads = ("", "article", "its code, 5 runs", "jaxor, 5 runs", "folds by row", "folds by run")
    rows = [
        heads,
        *(
            (
                r["name"],
                _r2(r["printed"]),
                _span(r["original"]),
                _span(r["jaxor"]),
                _r2(r["by_rows"]),
                _r2(r["grouped"]),
            )
            for r in as_published
        ),
    ]
    print(columns(rows, "<>>>>>"))
    exact = [_row(name, judge.judge(candidate)) for name, candidate in _exact(design).items()]
    print("\nLeast squares in float64, and laws of one feature\n")
    heads = ("", "in-sample", "folds by row", "folds by run", "MAE")
    print(
        columns(
            [
                heads,
                *(
                    (r["name"], _r2(r["in_sample"]), _r2(r["by_rows"]), _r2(r["grouped"]), f"{r['mae']:.3f}")
                    for r in exact
                ),
            ],
            "<>>>>",
        )
    )
    write("article", {"machine": machine(), "published": as_published, "exact": exact})


def article_design() -> Design:
    """The article's rows."""
    data = np.load(ROWS)
    n = len(data["y"])
    zeros = np.zeros(n)
    rows = Rows(
        seed=data["run"].astype(np.int64), step=np.arange(n, dtype=np.int32), remaining=data["y"].astype(np.float64),
        state=data["initial"], reference=data["final"], loss=zeros, decline=zeros, contraction=zeros,
        update=np.empty((n, 0), np.float32),
    )  # fmt: skip
    return Design(rows, ("weight[0,0]", "weight[0,1]", "bias[0]"), get_experiment("abs1_convergence").to_dict())


def _published(judge: Judge, design: Design, name: str) -> dict[str, Any]:
    candidate = Candidate(name, "published", published(0)[name], design.base)
    first = judge.judge(candidate)
    states = [] if name.startswith(("kernel", "random", "gradient")) else STATES[1:]
    others = [_in_sample(judge, replace(candidate, estimator=published(state)[name])) for state in states]
    scores, claim = [first.in_sample, *others], article_r2[name]
    return {
        "name": name, "printed": claim.printed, "original": [claim.low, claim.high],
        "jaxor": [min(scores), max(scores)], "by_rows": first.by_rows, "grouped": first.grouped.r2,
    }  # fmt: skip


def _in_sample(judge: Judge, candidate: Candidate) -> float:
    return judge.ablate(candidate).in_sample


def _exact(design: Design) -> dict[str, Candidate]:
    def squares(*names: str) -> Candidate:
        return Candidate("linear", "sound", make_pipeline(StandardScaler(), LinearRegression()), names)

    def law(estimator: Any) -> Candidate:
        return Candidate("law", "law", estimator, ("L2",))

    base = design.base
    return {
        "18 features": squares(*base),
        "15 without the logarithms": squares(*(n for n in base if design.columns[n].family != "log")),
        "without the features of the bias alone": squares(*(n for n in base if "bias" not in n)),
        "L2": law(Line()),
        "ln L2": law(LogLaw()),
        "ln(1 + L2/c)": law(ShiftedLogLaw()),
    }


def _row(name: str, judged: Judged) -> dict[str, Any]:
    return {
        "name": name, "in_sample": judged.in_sample, "by_rows": judged.by_rows, "grouped": judged.grouped.r2,
        "mae": judged.grouped.mae,
    }  # fmt: skip


def _r2(value: float) -> str:
    return f"{value:.4f}" if value > -10 else f"{value:,.0f}"


def _span(ends: list[float]) -> str:
    low, high = map(_r2, ends)
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
