"""The PyTorch loop beside which wide nets are timed trains the same nets."""

from __future__ import annotations

import numpy as np
import pytest

from bench import nets
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.analysis.table1 import image_experiment

pytest.importorskip("torch", reason="the loop is PyTorch's", exc_type=ModuleNotFoundError)


def test_the_loop_descends_on_images_as_the_reference_simulation_does() -> None:
    """Its figure for digits is .506 with a standard deviation of .023."""
    made = image_experiment("digits", width=200, rate=0.01, steps=34)
    descent = np.log(2) - np.array(nets.torch_loop(made, 1)(4))
    assert abs(descent.mean() - 0.506) < 4 * 0.023 / 2


@pytest.mark.parametrize("rotated", [False, True])
def test_the_loop_descends_on_separated_points_as_the_reference_simulation_does(rotated: bool) -> None:
    case = nets.cases()[-1]
    experiment = case.reduced if rotated else case.plain
    assert experiment.model.options["inputs"] == (10 if rotated else 50)
    assert experiment.model.options["hidden"] == SeparatedNets().width
    np.testing.assert_allclose(0.5 - np.array(nets.torch_loop(experiment, 1)(2)), 0.0695, atol=2e-4)


def test_products_are_those_of_both_layers_forward_and_backward() -> None:
    assert nets.products(nets.cases()[-1].plain) == [
        (20, 50, 1295), (20, 1295, 1), (20, 1, 1295), (1295, 20, 50), (1295, 20, 1),
    ]  # fmt: skip
