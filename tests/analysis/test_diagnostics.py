"""The functions that look at hidden units, against closed forms, plain loops and what was reported."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from jaxor.analysis import diagnostics
from jaxor.analysis.diagnostics import Layer
from jaxor.analysis.plateaus import MOST, plateaus
from tests.reference import EXPERIMENTS, POINTS, XOR, evaluate
from tests.test_reference import oracle

DIAGONAL = np.array([[0.5, -0.5], [-0.5, 0.5]])


@cache
def layers(seed: int = 0, runs: int = 40, units: int = 3) -> Layer:
    random = np.random.default_rng(seed)
    return Layer(random.normal(size=(runs, units, 2)), random.normal(size=(runs, units)))


def learned(name: str, when: str = "final_params") -> Layer:
    return diagnostics.hidden_layer(oracle(name)[when], oracle(name)["param_names"].tolist())


def loop(layer: Layer) -> NDArray[np.float64]:
    """Pre-activations (runs, points, units), number by number."""
    runs, units = layer.bias.shape
    found = np.zeros((runs, 4, units))
    for run, point, unit in np.ndindex(found.shape):
        weight = layer.weight[run, unit]
        found[run, point, unit] = weight[0] * POINTS[point, 0] + weight[1] * POINTS[point, 1] + layer.bias[run, unit]
    return found


def test_the_layer_is_found_among_other_parameters():
    names = ["linear2.weight[0]", "linear1.bias[0]", *(f"linear1.weight[0,{i}]" for i in range(3)), "activation.weight"]
    layer = diagnostics.hidden_layer(np.arange(12.0).reshape(2, 6), names)
    assert_array_equal(layer.weight, [[[2, 3, 4]], [[8, 9, 10]]])
    assert_array_equal(layer.bias, [[1], [7]])
    with pytest.raises(ValueError, match="no hidden layer linear1.weight, linear1.bias"):
        diagnostics.hidden_layer(np.zeros((2, 1)), ["slope"])


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_dead_points_and_units_are_those_of_a_loop(margin: float):
    pre = loop(layers())
    for run, row in enumerate(diagnostics.dead_points(layers(), POINTS, margin)):
        assert row.tolist() == [all(z <= margin for z in pre[run, point]) for point in range(4)]
    for run, row in enumerate(diagnostics.dead_units(layers(), POINTS)):
        assert row.tolist() == [all(z <= 0 for z in pre[run, :, unit]) for unit in range(3)]


def test_a_point_on_the_hyperplane_is_dead():
    assert diagnostics.dead_points(Layer(DIAGONAL[None], np.zeros((1, 2))), POINTS).tolist() == [
        [True, False, False, True]
    ]


def test_mirror_pairs_at_the_limits():
    def pair(degrees: float) -> list[list[float]]:
        turn = np.radians(degrees)
        return [[1, 0], [3 * np.cos(turn), 3 * np.sin(turn)]]

    limit, exact = np.degrees(np.arccos(-0.95)), np.degrees(np.arccos(-0.999))
    found = diagnostics.mirror_pairs([pair(limit - 0.01), pair(limit + 0.01), pair(exact + 0.01), pair(180), pair(0)])
    assert found.found.tolist() == [False, True, True, True, False]
    assert found.perfect.tolist() == [False, False, True, True, False]
    assert_allclose(found.cosine[[1, 3]], [np.cos(np.radians(limit + 0.01)), -1])
    assert np.isnan(found.cosine[[0, 4]]).all()


def test_the_first_pair_counts_and_dead_weights_make_none():
    found = diagnostics.mirror_pairs([[[1, 0], [0, 0], [-1, 0.1], [-1, 0]], [[0, 0], [0, 0], [1, 1], [2, 2]]])
    assert found.found.tolist() == [True, False] and found.perfect.tolist() == [False, False]
    assert found.cosine[0] == pytest.approx(-1 / np.hypot(1, 0.1))
    assert not diagnostics.mirror_pairs(np.ones((2, 1, 2))).found.any()


def test_distances_to_hyperplanes_are_those_of_a_loop():
    layer, pre = layers(), loop(layers())
    distance = np.abs(pre) / np.hypot(layer.weight[..., 0], layer.weight[..., 1])[:, None]
    assert_allclose(diagnostics.nearest_hyperplanes(layer, POINTS), distance.min(axis=2))
    found = diagnostics.hyperplane_distances(layer, POINTS, XOR)
    assert_allclose(found[..., 0], (distance[:, 0] + distance[:, 3]) / 2)
    assert_allclose(found[..., 1], (distance[:, 1] + distance[:, 2]) / 2)


def test_distances_that_are_not_there():
    layer = Layer(np.array([[[0.0, 0.0], [1.0, 0.0]], [[1e-9, 0.0], [0.0, 0.0]]]), np.ones((2, 2)))
    nearest = diagnostics.nearest_hyperplanes(layer, POINTS)
    assert_array_equal(nearest, [[0, 2, 0, 2], [np.nan] * 4])
    one_class = diagnostics.hyperplane_distances(layer, POINTS, np.ones(4, bool))
    assert_array_equal(one_class, [[[np.nan] * 2, [np.nan, 1]], [[np.nan] * 2] * 2])


def test_clusters_are_connected_neighbourhoods():
    """With two neighbours DBSCAN's clusters are what is connected by steps of at most .1; found here by flooding."""
    rows = np.random.default_rng(3).uniform(0, 1, (60, 2))
    near = np.linalg.norm(rows[:, None] - rows, axis=2) <= 0.1
    groups, left = [], set(range(60))
    while left:
        group, edge = set(), {left.pop()}
        while edge:
            group |= edge
            edge = {j for i in edge for j in np.flatnonzero(near[i]).tolist()} - group
        left -= group
        groups.append(sorted(group))
    found = diagnostics.clusters(rows)
    assert sorted(found.size.tolist(), reverse=True) == found.size.tolist()
    assert found.noise == sum(len(group) == 1 for group in groups)
    ours = sorted(np.flatnonzero(found.label == number).tolist() for number in range(len(found.size)))
    assert ours == sorted(group for group in groups if len(group) > 1)
    for number, size in enumerate(found.size):
        group = rows[found.label == number]
        assert len(group) == size
        assert_allclose([found.centre[number], found.spread[number]], [group.mean(0), group.std(0)])


def test_clusters_of_nothing():
    assert len(diagnostics.clusters(np.zeros((0, 2))).size) == 0
    alone = diagnostics.clusters([[np.nan], [0.0], [np.inf]])
    assert (alone.label.tolist(), alone.noise) == ([-1, -1, -1], 3)


def test_angles_and_displacement_by_hand():
    assert_allclose(
        diagnostics.angles_to([[[-3, 3], [1, 0], [2, 2], [1, -2]]]), [[0, 45, 90, np.degrees(np.arctan2(1, 3))]]
    )
    assert np.isnan(diagnostics.angles_to([[[0, 0]]])).all()
    moved = diagnostics.displacement([[[1, 1], [4, 0], [0, 0]]], [[[-1, -1], [2, 2], [0, 1]]])
    assert_allclose(moved.angle, [[180, 45, 90]], atol=0.02)  # lengths are those of the reports, 1e-8 longer
    assert_allclose(moved.ratio, [[1, np.sqrt(2), 0]], atol=1e-7)


def test_bins_hold_their_lower_end():
    bins = diagnostics.by_percentile([*range(11), np.nan], [*range(10, 21), 99])
    assert [(one.low, one.high, one.rows, one.mean) for one in bins] == [
        (0, 1, 1, 10), (1, 2.5, 2, 11.5), (2.5, 5, 2, 13.5), (5, 7.5, 3, 16), (7.5, 9, 1, 18), (9, 10, 2, 19.5),
    ]  # fmt: skip
    alike = diagnostics.by_percentile([2.0] * 5, range(5))
    assert [(one.rows, one.mean) for one in alike] == [*[(0, None)] * 5, (5, 2)]
    assert diagnostics.by_percentile([np.nan], [1]) == ()


def test_plateaus_among_runs_on_the_way():
    """Losses without a gap between two plateaus, which hold 60 and 30 % of the runs."""
    way = np.linspace(0.12, 0.18, 1_000)
    loss = np.concatenate([np.full(6_000, 0.125), np.full(3_000, 1 / 6), way])
    first, second, *_ = plateaus(loss, None, np.full(len(loss), 0.75))
    for one, where, runs in ((first, 0.125, 6_000), (second, 1 / 6, 3_000)):
        assert one.loss == pytest.approx(where, abs=1e-3) and runs <= one.runs <= runs + 84 and one.spread < 0.0051
        assert (one.errors, one.sharing, one.accuracy) == ((), None, 0.75)
        assert loss[one.example] == pytest.approx(where, abs=0.005)


def test_plateaus_say_what_most_runs_have():
    errors = [[1, 0, 0, 0], [0, 0.015, 0, 0.99], [0.25, 0.25, 0.25, 0.25], [0, 0, 1, 0], [3, 3, 3, 3]]
    found = plateaus([0.25, 0.2512, 0.25, 0.25, np.inf], errors, [0.75, 0.75, 0.5, 0.75, 0])
    assert len(found) == 1 and found[0].sharing is not None
    assert (found[0].runs, found[0].accuracy, found[0].errors) == (4, 0.75, (0, 0, 0, 1))
    assert (found[0].sharing.count, found[0].example) == (3, 3)
    assert plateaus([], None, []) == ()
    assert len(plateaus(np.arange(50.0), None, np.zeros(50))) == MOST


def test_reported_mirror_pairs():
    """Of 50 runs each, relu1: 29 with 15 perfect ones and cosine -.99335 +- .0097; leaky .1: 47, 11; ELU: 48, 42."""
    for name, found, perfect in (("relu1_normal", 29, 15), ("relu1_leaky_1e-1", 47, 11), ("relu1_elu", 48, 42)):
        pairs = diagnostics.mirror_pairs(learned(name).weight[oracle(name)["final_accuracy"] >= 0.75])
        assert (pairs.found.sum(), pairs.perfect.sum()) == (found, perfect)
    cosine = diagnostics.mirror_pairs(learned("relu1_normal").weight).cosine
    assert np.nanmean(cosine) == pytest.approx(-0.99335, abs=5e-6)
    assert np.nanstd(cosine, ddof=1) == pytest.approx(0.0097, abs=5e-5)


def test_reported_distances_and_clusters():
    """The June report on relu1_normal: 6.9e-2 +- 1.6e-1 and 1.272 +- .31; 5 clusters of whole layers, 26 runs noise.

    Later ones: .24 and 1.38, 9 clusters and 9 units noise (leaky .1); .45 and 1.36, 22 and 26 (ELU); 27 and 23 (abs1).
    """
    nearest = diagnostics.nearest_hyperplanes(learned("relu1_normal"), POINTS)
    for there, mean, std in ((XOR == 0, 0.069, 0.16), (XOR == 1, 1.272, 0.311)):
        assert nearest[:, there].mean() == pytest.approx(mean, abs=5e-4)
        assert nearest[:, there].std() == pytest.approx(std, abs=5e-3)
    whole = diagnostics.clusters(learned("relu1_normal").weight.reshape(50, -1))
    assert (len(whole.size), whole.noise) == (5, 26)
    for name, clusters, noise, near, far in (("relu1_leaky_1e-1", 9, 9, 0.24, 1.38), ("relu1_elu", 22, 26, 0.45, 1.36)):
        success = oracle(name)["final_accuracy"] == 1
        layer = Layer(*(array[success] for array in learned(name)))
        rows = diagnostics.clusters(layer.weight.reshape(-1, 2))
        assert (len(rows.size), rows.noise) == (clusters, noise)
        distances = diagnostics.clusters(diagnostics.hyperplane_distances(layer, POINTS, XOR).reshape(-1, 2))
        assert_allclose(distances.centre[0], [near, far], atol=0.005)
    assert diagnostics.clusters(learned("abs1_tiny").weight.reshape(50, -1)).size.tolist() == [27, 23]


def test_the_plateaus_of_the_two_layer_net():
    """Of 40 failures 33 end at 1/8, with two points exact and two at [.5, .5], and 7 at 1/6; all with accuracy .75."""
    runs = oracle("relu2_two_mse_sgd")
    failed = runs["final_accuracy"] < 1
    output = np.moveaxis(evaluate(EXPERIMENTS["relu2_two_mse_sgd"], runs["final_params"][failed]).output, 1, 2)
    target = np.stack([1 - XOR, XOR], axis=1)
    found = plateaus(
        runs["final_loss"][failed], np.mean((output - target) ** 2, axis=2), runs["final_accuracy"][failed]
    )
    assert [(one.runs, one.errors, one.accuracy) for one in found] == [
        (33, (0, 0, 0.25, 0.25), 0.75), (7, (0, 0.11, 0.11, 0.44), 0.75),
    ]  # fmt: skip
    assert [one.sharing.count for one in found if one.sharing] == [33, 7]
    assert_allclose([one.loss for one in found], [1 / 8, 1 / 6], rtol=1e-5)
    at_an_eighth = output[np.abs(runs["final_loss"][failed] - 1 / 8) < 0.001]
    exact = np.asarray((np.abs(at_an_eighth - target) < 0.05).all(axis=2))
    halves = (np.abs(at_an_eighth - 0.5) < 0.05).all(axis=2)
    assert_array_equal([exact.sum(axis=1), halves.sum(axis=1)], np.full((2, 33), 2))
    assert_array_equal(exact[:, [1, 2]].sum(axis=1), 1)  # one of each class
