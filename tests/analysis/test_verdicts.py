"""Verdicts on planted truths."""

from __future__ import annotations

import numpy as np
import pytest

from jaxor import get_experiment
from jaxor.analysis.candidates import candidates
from jaxor.analysis.design import Design
from jaxor.analysis.judge import Judge
from jaxor.analysis.rows import Rows
from jaxor.analysis.verdicts import verdicts


@pytest.mark.parametrize(("truth", "against_bare"), [("line", "yes"), ("logarithm", "no")])
def test_a_line_is_found_where_there_is_one(truth: str, against_bare: str):
    """Against ln(1 + distance / c), of which a line is a case, it is not found to lose at least."""
    random = np.random.default_rng(0)
    seed = np.repeat(np.arange(60), 20)
    distance = random.uniform(0.01, 1, len(seed))
    epochs = (30 * distance if truth == "line" else 30 + 6 * np.log(distance)) + random.normal(0, 0.5, len(seed))
    state, zeros = np.column_stack([distance, np.zeros_like(distance)]), np.zeros(len(seed))
    rows = Rows(
        seed, zeros.astype(np.int32), epochs, state, np.zeros_like(state), zeros, zeros, zeros, np.empty((len(seed), 0))
    )
    experiment = get_experiment("relu1_normal").to_dict()
    design = Design(rows, ("weight[0]", "weight[1]"), experiment)
    judge = Judge(design, zeros > 0, folds=5, fold_rows=3345, level=0.9, random_state=0)
    laws = [law for law in candidates(design, experiment, faces=("law",)) if law.columns == ("L2",)]
    shifted, bare = verdicts([judge.judge(law) for law in laws])
    assert bare.answer == against_bare and shifted.answer in (("undecided", "yes") if truth == "line" else ("no",))
