from __future__ import annotations

import math
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxor.analysis.features import ARTICLE, LAYERS, ConvergenceFeatures, arrays_of
from jaxor.analysis.laws import ShiftedLogLaw
from tests.analysis import article

TWO_LAYERS = ("linear1.weight[0,0]", "linear1.weight[0,1]", "linear1.bias[0]", "linear2.weight[0,0]")


def names_of(size: int) -> list[str]:
    return [f"weight[{place}]" for place in range(size)]


def drawn(size: int, rows: int = 5) -> np.ndarray:
    return np.random.default_rng(size).normal(size=(rows, 2 * size))


def test_the_columns_are_those_of_the_article():
    data = article.rows()
    found = ConvergenceFeatures(article.PARAM_NAMES).fit_transform(article.pairs())
    # float32 subtracts nearly equal weights exactly, so only products and sums are rounded; ratios are far from 1.
    np.testing.assert_allclose(found, data["X"], rtol=2e-6, atol=2e-7)


def test_the_columns_have_the_names_of_the_article():
    names = ConvergenceFeatures(article.PARAM_NAMES).fit(article.pairs()).get_feature_names_out()
    theirs = [str(name) for name in article.rows()["feature_names"]]
    words = {"difference": "raw_diff_", "absolute": "abs_diff_", "ratio": "ratio_", "log": "log_abs_diff_"}
    numbered = list(enumerate(article.PARAM_NAMES))
    each = {f"{ours}({name})": f"{word}p{i}" for ours, word in words.items() for i, name in numbered}
    pairs = {f"difference({a})*difference({b})": f"inter_p{i}p{j}" for (i, a), (j, b) in combinations(numbered, 2)}
    assert [(each | pairs).get(name, name) for name in names] == theirs


@pytest.mark.parametrize(("size", "columns"), [(3, 18), (6, 42), (12, 117)])
def test_columns_grow_with_the_number_of_parameters(size: int, columns: int):
    features = ConvergenceFeatures(names_of(size)).fit(drawn(size))
    assert columns == 3 + 4 * size + size * (size - 1) // 2
    assert features.transform(drawn(size)).shape == (5, columns)
    counts = {"difference": size, "distance": 3, "absolute": size, "ratio": size, "log": size}
    assert Counter(features.families_) == counts | {"interaction": math.comb(size, 2)}
    assert len(set(features.get_feature_names_out())) == columns


def test_every_column_is_what_its_name_says():
    features = ConvergenceFeatures(names_of(4), (*ARTICLE, "layer", "log_layer")).fit(drawn(4))
    X = drawn(4)
    columns = dict(zip(features.get_feature_names_out(), features.transform(X).T, strict=True))
    for row, values in enumerate(X):
        now, goal = values[:4].tolist(), values[4:].tolist()
        gap = [a - b for a, b in zip(now, goal, strict=True)]
        expected = {
            "L1": sum(map(abs, gap)),
            "L2": math.dist(now, goal),
            "cosine": 1 - sum(a * b for a, b in zip(now, goal, strict=True)) / (math.hypot(*now) * math.hypot(*goal)),
        }
        expected |= {f"{name}(weight)": value for name, value in expected.items()}  # there is one array
        expected["log L2(weight)"] = math.log(expected["L2"] + 1e-8)
        for place, name in enumerate(names_of(4)):
            expected[f"difference({name})"] = gap[place]
            expected[f"absolute({name})"] = abs(gap[place])
            expected[f"ratio({name})"] = now[place] / (goal[place] + 1e-8)
            expected[f"log({name})"] = math.log(abs(gap[place]) + 1e-8)
        for (i, a), (j, b) in combinations(enumerate(names_of(4)), 2):
            expected[f"difference({a})*difference({b})"] = gap[i] * gap[j]
        assert {name: column[row] for name, column in columns.items()} == pytest.approx(expected)


def test_each_array_has_distances_of_its_own():
    features = ConvergenceFeatures(TWO_LAYERS, LAYERS)
    X = [[3.0, 4.0, 2.0, 7.0, 0.0, 0.0, 0.0, 0.0]]
    found = dict(zip(features.fit(X).get_feature_names_out(), features.transform(X)[0], strict=True))
    assert [found[f"L2({array})"] for array in arrays_of(TWO_LAYERS)] == [5, 2, 7]
    assert [found[f"L1({array})"] for array in arrays_of(TWO_LAYERS)] == [7, 2, 7]
    assert found["log L2(linear1.weight)"] == pytest.approx(math.log(5))
    assert len(found) == 4 * 3


def test_families_are_given_in_the_order_asked_for():
    for families in (("log",), ("distance", "log"), ("log", "distance")):
        features = ConvergenceFeatures(article.PARAM_NAMES, families).fit(article.pairs())
        assert tuple(dict.fromkeys(features.families_)) == families
        whole = ConvergenceFeatures(article.PARAM_NAMES).fit(article.pairs())
        places = [list(whole.get_feature_names_out()).index(name) for name in features.get_feature_names_out()]
        some = article.pairs()[:50]
        np.testing.assert_array_equal(features.transform(some), whole.transform(some)[:, places])


def test_equal_states_and_zero_references_give_finite_numbers():
    state = [[0.5, -0.5, 0.0]]
    for reference in (state, [[0.0, 0.0, 0.0]]):
        assert np.isfinite(ConvergenceFeatures(article.PARAM_NAMES).fit_transform(np.hstack([state, reference]))).all()


def test_it_is_a_scikit_learn_transformer():
    features = ConvergenceFeatures(article.PARAM_NAMES, families=("distance",))
    copy: Any = clone(features)
    assert copy is not features and copy.get_params() == features.get_params()
    assert copy.fit(article.pairs()) is copy and copy.n_features_in_ == 6
    pipeline: Any = make_pipeline(copy, StandardScaler()).fit(article.pairs())
    assert list(pipeline.get_feature_names_out()) == ["L1", "L2", "cosine"]
    model = make_pipeline(features, LinearRegression()).fit(article.pairs(), article.rows()["y"])
    assert model.predict(article.pairs()[:2]).shape == (2,)
    framed = make_pipeline(clone(features)).set_params(convergencefeatures__families=("log",)).fit(article.pairs())
    assert framed.transform(article.pairs()).shape == (3345, 3)


def test_one_row_is_transformed_as_it_is_among_others():
    features = ConvergenceFeatures(names_of(6)).fit(drawn(6))
    np.testing.assert_array_equal(
        np.vstack([features.transform(row[None]) for row in drawn(6)]), features.transform(drawn(6))
    )


def test_errors_say_what_was_seen():
    with pytest.raises(ValueError, match=r"unknown family of features 'logs'; there are difference, distance"):
        ConvergenceFeatures(names_of(3), ("distance", "logs")).fit(drawn(3))
    with pytest.raises(ValueError, match=r"6 columns, states and references of 3 parameters, got shape \(5, 8\)"):
        ConvergenceFeatures(names_of(3)).fit(drawn(4))
    with pytest.raises(ValueError, match=r"got shape \(5, 8\)"):
        ConvergenceFeatures(names_of(3)).fit(drawn(3)).transform(drawn(4))


# What exact least squares finds on the article's rows (computed before with other code): in-sample R2, and R2 of
# forecasts in ten folds cut between runs.

EVERYTHING = slice(None)


def without(*words: str) -> Any:
    """The columns without some of them."""
    names = ConvergenceFeatures(article.PARAM_NAMES).fit(article.pairs()).get_feature_names_out()
    return [place for place, name in enumerate(names) if not any(word in name for word in words)]


@pytest.mark.parametrize(
    ("columns", "in_sample", "grouped"),
    [
        pytest.param(lambda: EVERYTHING, 0.9785, 0.9758, id="18 features"),
        pytest.param(lambda: without("log("), 0.6618, 0.6349, id="15 without logarithms"),
        pytest.param(lambda: [4], 0.5056, 0.5052, id="L2"),
        pytest.param(lambda: [3], 0.5015, 0.5009, id="L1"),
        pytest.param(lambda: without("bias"), 0.9781, 0.9766, id="without the bias, which is rounding noise"),
    ],
)
def test_exact_least_squares_on_the_articles_rows(columns: Any, in_sample: float, grouped: float):
    data = article.rows()
    X = ConvergenceFeatures(article.PARAM_NAMES).fit_transform(article.pairs())[:, columns()]
    model = make_pipeline(StandardScaler(), LinearRegression())
    assert r2_score(data["y"], model.fit(X, data["y"]).predict(X)) == pytest.approx(in_sample, abs=1e-4)
    predicted = cross_val_predict(model, X, data["y"], groups=data["run"], cv=GroupKFold(10))
    assert r2_score(data["y"], predicted) == pytest.approx(grouped, abs=1e-4)


def test_one_logarithm_beats_the_eighteen_features():
    data = article.rows()
    L2 = ConvergenceFeatures(article.PARAM_NAMES, ("distance",)).fit_transform(article.pairs())[:, 1:2]
    for X, expected in ((np.log(L2), 0.9887), (np.log(L2 + 1e-8), 0.9887)):
        assert LinearRegression().fit(X, data["y"]).score(X, data["y"]) == pytest.approx(expected, abs=1e-4)
    law = ShiftedLogLaw().fit(L2, data["y"])
    assert law.score(L2, data["y"]) >= 0.999
    # What is left at the end: the tolerance is 1e-7 and the last step is taken too.
    assert 0.8 * math.sqrt(1e-7) * 0.8 < law.shift_ < math.sqrt(1e-7)
