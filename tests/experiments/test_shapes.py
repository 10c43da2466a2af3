"""The task of segmentation."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from jaxor.experiments import shapes as module
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.shapes import shapes

LABELS = np.argmax(shapes().targets, -1)


def test_the_same_options_give_the_same_pictures() -> None:
    task, again, other = shapes(), module._shapes.__wrapped__(512, 16, 0), shapes(data_seed=1)
    assert_array_equal(task.inputs, again.inputs)
    assert_array_equal(task.targets, again.targets)
    assert not np.array_equal(task.inputs, other.inputs)
    assert (task.inputs.shape, task.targets.shape) == ((512, 256), (512, 16, 16, 4))
    assert task.inputs.dtype == task.targets.dtype == np.float32


def test_classes_are_balanced() -> None:
    assert_array_equal(shapes().targets.sum(-1), 1)
    shares = np.bincount(LABELS.ravel(), minlength=4) / LABELS.size
    assert 0.6 < shares[0] < 0.8
    assert shares[1:].min() > 0.07
    assert all((LABELS == kind).any((1, 2)).mean() > 0.4 for kind in range(4))  # of the pictures


def test_brightness_is_that_of_the_class() -> None:
    pictures = shapes().inputs.reshape(LABELS.shape)
    background, shown = pictures[LABELS == 0], pictures[LABELS > 0]
    assert abs(background.mean()) < 5 * 0.1 / np.sqrt(background.size)
    assert background.std() == pytest.approx(0.1, rel=0.02)
    assert shown.mean() == pytest.approx(0.75, abs=0.02)
    assert (shown > 0.5 - 0.5).all() and (shown < 1 + 0.5).all()  # five standard deviations of the noise


def test_shapes_have_the_area_of_their_disc() -> None:
    """Pixels by a loop over the definitions; large pictures have little rounding."""
    side, radius = 64, 15.0
    for kind, name in enumerate(module.CLASSES[1:], 1):
        covered = module._inside(np.array([kind]), np.array([[32.0], [30.0]]), np.array([radius]), side)[0]
        assert covered.sum() == pytest.approx(np.pi * radius**2, rel=0.05), name
        rows, columns = np.nonzero(covered)
        widths = covered.sum(1)[np.unique(rows)]
        assert columns.mean() + 0.5 == pytest.approx(30, abs=0.5)
        assert {"disc": widths[0] < widths[len(widths) // 2] > widths[-1], "square": np.ptp(widths) == 0,
                "triangle": (np.diff(widths) >= 0).all() and widths[-1] > 10 * widths[0]}[name]  # fmt: skip


def test_accuracy_is_the_share_of_pixels() -> None:
    task = shapes(points=41, side=8)
    assert float(task.accuracy(jnp.asarray(2 * task.targets), task.targets)) == 1
    outputs = task.targets.copy()
    outputs[3, 2, 1] = 1 - outputs[3, 2, 1]
    assert float(task.accuracy(jnp.asarray(outputs), task.targets)) == pytest.approx(1 - 1 / (41 * 64), abs=1e-7)


@pytest.mark.parametrize(("option", "value"), [("points", 0), ("side", 7), ("data_seed", -1)])
def test_impossible_options(option: str, value: int) -> None:
    with pytest.raises(ExperimentError, match=f"{option} must be"):
        shapes(**{option: value})
