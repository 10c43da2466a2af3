"""What the sources report of relu1, beside many runs of it and what is exact."""

from __future__ import annotations

import numpy as np

import jaxor
from jaxor.estimates import wilson
from jaxor.experiments.task import XOR_INPUTS
from tests.conftest import Row

SEEDS = 100_000
TITLE = "relu1_normal: success, and points that no unit reaches at the start"


def reached(params: np.ndarray) -> np.ndarray:
    """Which of the four points some unit of relu1 reaches, (n, 4) bool, for parameters (n, 6)."""
    weights = params[:, :4].reshape(-1, 2, 2).astype(np.float64)
    return (np.einsum("suk,pk->spu", weights, XOR_INPUTS) + params[:, None, 4:] > 0).any(axis=2)


def interval(count: int, total: int, confidence: float) -> str:
    low, high = wilson(count, total, confidence)
    return f"{count / total:.5f}, {confidence:.0%} [{low:.5f}, {high:.5f}]"


def test_relu1_normal_succeeds_as_often_as_the_original(table_row: Row):
    run = jaxor.simulate("relu1_normal", SEEDS, traces="none")
    success = int((run.final_accuracy == 1).sum())
    original = "29 of 50, 95 % [{:.3f}, {:.3f}]".format(*wilson(29, 50))
    table_row(TITLE, figure="success", seeds=SEEDS, measured=interval(success, SEEDS, 0.95), reference=original)
    # 29 of 50 must be an ordinary outcome of our share: within 99 % of the binomial law.
    share = success / SEEDS
    assert abs(29 - 50 * share) < 2.576 * np.sqrt(50 * share * (1 - share)) + 0.5
    alive = int(reached(run.initial_params)[:, 1:3].all(axis=1).sum())
    table_row(
        TITLE, figure="class 1 alive", seeds=SEEDS, measured=interval(alive, SEEDS, 0.95), reference="1/2 (exact)"
    )


def test_points_that_no_unit_reaches_at_the_start(table_row: Row):
    """With zero biases both class-1 points are reached with probability 1/2, all four with 1/4.

    (Seeds 0 to 99,999 alone are off by 3.4 standard errors, one block of 240 such; a million are not.)
    """
    count = 1_000_000
    start = jaxor.simulate(jaxor.get_experiment("relu1_normal").replace(max_epochs=0), count, traces="none")
    points = reached(start.initial_params)
    for figure, alive, exact in (("class 1 alive", points[:, 1:3], 0.5), ("all alive", points, 0.25)):
        found = int(alive.all(axis=1).sum())
        low, high = wilson(found, count, 0.99)
        reference = f"{exact} (exact)"
        table_row(TITLE, figure=figure, seeds=count, measured=interval(found, count, 0.99), reference=reference)
        assert low < exact < high


def test_success_needs_every_class_1_point_alive(table_row: Row):
    """With SGD a run succeeds if and, but for one in a thousand or two, only if each class-1 point is reached."""
    run = jaxor.simulate("relu1_convergence", SEEDS, traces="none")
    alive = reached(run.initial_params)[:, 1:3].all(axis=1)
    success = run.final_accuracy == 1
    agree = int((success == alive).sum())
    table_row(
        TITLE, figure="SGD: success = class 1 alive", seeds=SEEDS, measured=interval(agree, SEEDS, 0.95),
        reference="499 of 500",
    )  # fmt: skip
    assert agree / SEEDS > 0.99
