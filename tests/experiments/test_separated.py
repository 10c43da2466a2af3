"""Data of Assumption 4.1: what each generator promises."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from jaxor.analysis.assumptions import separation
from jaxor.experiments import separated
from jaxor.experiments.images import Images
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.task import TASKS, Task, sign_accuracy


def task(name: str, **options: Any) -> Task:
    return TASKS.build(TASKS.resolve({"name": name, **options}, "task"), "task")


@pytest.mark.parametrize("name", ["antipodal", "one_pair", "equal_cosines"])
def test_two_classes_are_separated(name: str) -> None:
    made = task(name, n=12, d=9)
    assert made.inputs.shape == (12, 9)
    assert_array_equal(made.targets, [1] * 6 + [-1] * 6)
    products = made.inputs @ made.inputs.T
    assert_allclose(np.diag(products), 1, 1e-15)
    same = made.targets[:, None] == made.targets
    assert products[same].min() > 0 and products[~same].max() < 0


def test_antipodes() -> None:
    made = task("antipodal", n=12, d=9)
    assert_array_equal(made.inputs[6:], -made.inputs[:6])
    pair = task("one_pair", n=12, d=9)
    assert_array_equal(pair.inputs[6], -pair.inputs[0])
    sums = np.linalg.norm(pair.inputs[:, None] + pair.inputs, axis=-1)
    assert (sums < 1e-9).sum() == 2  # that pair, both ways round


def test_the_seed_of_the_data_is_numpys() -> None:
    """gamma and lambda of eq. (7) as the specification's own simulation has them, with default_rng(0)."""
    rows = task("antipodal").inputs[:10]
    assert_allclose((rows @ rows.T).min(), 0.4937323446995342, 1e-12)
    assert_allclose(np.linalg.eigvalsh(rows @ rows.T)[0], 0.18888026744392994, 1e-12)
    assert not np.allclose(rows, task("antipodal", data_seed=1).inputs[:10])


def test_equal_cosines() -> None:
    made = task("equal_cosines", n=8, d=30, cosine=0.3)
    products = made.inputs @ made.inputs.T * np.outer(made.targets, made.targets)
    assert_allclose(products, 0.3 + 0.7 * (np.arange(8)[:, None] % 4 == np.arange(8) % 4), 1e-15)


@pytest.mark.parametrize(("name", "rank"), [("antipodal", 6), ("one_pair", 11), ("equal_cosines", 6)])
def test_rotated_points_have_the_same_products_in_fewer_columns(name: str, rank: int) -> None:
    plain, turned = task(name, n=12, d=30), task(name, n=12, d=30, rotated=True)
    assert turned.inputs.shape == (12, rank)
    assert_allclose(turned.inputs @ turned.inputs.T, plain.inputs @ plain.inputs.T, 0, 1e-14)
    assert_array_equal(turned.targets, plain.targets)
    assert turned.sample is None


def test_fresh_points_have_the_law_of_the_task() -> None:
    sample = task("antipodal", d=5).sample
    assert sample is not None
    inputs, targets = (np.asarray(array, np.float64) for array in sample(jax.random.key(1), 20_000))
    assert inputs.shape == (20_000, 5) and set(targets) == {-1, 1}
    assert abs(targets.mean()) < 5 / np.sqrt(20_000)
    rows = inputs * targets[:, None]
    assert (rows >= 0).all()
    assert_allclose(np.linalg.norm(rows, axis=1), 1, 1e-6)
    reference = np.abs(np.random.default_rng(3).standard_normal((20_000, 5)))
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    for power in (1, 2, 3):
        errors = np.sqrt(2 * (reference**power).var(axis=0) / 20_000)
        assert (abs((rows**power).mean(0) - (reference**power).mean(0)) < 5 * errors).all()


def test_images_with_two_pairs() -> None:
    """Threes, an eight and, negative, eights and the first three: rows of the digits, of norm 1."""
    made = task("image_pair", n=12)
    pixels, labels = load_digits(return_X_y=True)
    rows = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
    threes, eights = (rows[labels == kind] for kind in (3, 8))
    assert_allclose(made.inputs[:6], np.concatenate([threes[:5], eights[:1]]), 1e-14)
    assert_allclose(made.inputs[6:], -np.concatenate([eights[:5], threes[:1]]), 1e-14)
    assert_array_equal(made.targets, [1] * 6 + [-1] * 6)
    found = separation(made.inputs, made.targets)
    assert_allclose(found.certificate, np.abs(made.inputs @ made.inputs[[0, 5]].T).max(1).min(), 1e-12)
    assert found.mu0 is not None and 0.5 < found.certificate <= found.mu0 + 1e-9 < 1
    alone = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]  # without the pairs some v is dead on every point
    assert separation(made.inputs[alone], made.targets[alone]).mu0 == -np.inf


def test_images_that_share_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.array([[9, 9, 0], [9, 0, 0], [0, 9, 0], [0, 9, 9]], np.uint8)
    found = Images(pixels, np.array([1, 2, 1, 2]), 255, "made up")
    monkeypatch.setattr(separated, "load_images", lambda source, count: found)
    assert_allclose(task("image_pair", n=4, positive=1, negative=2).inputs @ [0, 0, 1], 0)  # the first of each class
    with pytest.raises(ExperimentError, match="some images of classes 1 and 2 of digits share no pixel; take others"):
        task("image_pair", n=6, positive=1, negative=2)


def test_sign_accuracy() -> None:
    assert float(sign_accuracy(jnp.array([3.0, -1e-9, 0.0, -2.0]), np.array([1, 1, 1, -1]))) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "antipodal", "n": 7}, "task.n must be even and positive, got 7"),
        ({"name": "one_pair", "d": 0}, "task.d must be positive"),
        ({"name": "antipodal", "data_seed": -1}, "task.data_seed must be 0 or positive"),
        ({"name": "equal_cosines", "cosine": 1.0}, "task.cosine must be between 0 and 1"),
        ({"name": "equal_cosines", "n": 20, "d": 10}, "task.d must be more than half of n, 10, got 10"),
        ({"name": "image_pair", "n": 2}, "task.n must be 4 or more, got 2"),
        ({"name": "image_pair", "n": 5}, "task.n must be even and positive, got 5"),
        ({"name": "image_pair", "positive": 10}, "task.positive must be a class from 0 to 9, got 10"),
        ({"name": "image_pair", "negative": 3}, "task.negative must be another class than positive, got 3"),
        ({"name": "image_pair", "n": 400}, "task.n must be such that class 3 of digits has 199 images, got 400"),
        ({"name": "image_pair", "d": 5}, "task.d is not an option of the task 'image_pair'"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        task(**options)
