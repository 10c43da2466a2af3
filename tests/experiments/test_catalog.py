"""The catalogue against a table of what the original trains, written down a second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import jaxor
from jaxor.engine.parameters import flat_order
from jaxor.experiments.catalog import DEFAULT, catalog, get_entry
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.task import argmax_accuracy

ORACLES = Path(__file__).parents[1] / "data" / "oracles"


class Row(NamedTuple):
    """What is trained and how; options of parts are those that matter, defaults included."""

    task: str
    model: dict[str, Any]
    parameters: int
    init: dict[str, Any]
    optimizer: tuple[str, float, float]  # name, learning rate, weight decay
    cap: int
    patience: int | None
    runs: int
    seed: int
    loss: str = "mse"
    interventions: tuple[dict[str, Any], ...] = ()


def abs1(init: dict[str, Any], optimizer: str, rate: float, cap: int = 1000, runs: int = 50, pivot: float = 0.0) -> Row:
    model = {"name": "abs1", "pivot_scale": pivot}
    return Row("xor", model, 3, init, (optimizer, rate, 0.0), cap, None, runs, 42)


def relu1(
    init: dict[str, Any], cap: int = 800, patience: int | None = 10, runs: int = 50, rate: float = 0.01, **more: Any
) -> Row:
    model = {"name": "relu1", "units": 2, "activation": "relu", "pivot_scale": 0.0} | more.pop("model", {})
    size = 7 if model["activation"] == "prelu" else 6
    optimizer = (more.pop("optimizer", "adam"), rate, 0.0)
    return Row("xor", model, size, init, optimizer, cap, patience, runs, more.pop("seed", 18), **more)


def leaky(slope: float, rate: float, cap: int) -> Row:
    return relu1(KAIMING, cap, rate=rate, model={"activation": "leaky_relu", "slope": slope})


def two(
    hidden: int, loss: str, optimizer: str = "adam", rate: float = 0.01, decay: float = 0.0, cap: int = 5000,
    patience: int | None = 10, runs: int = 50, init: dict[str, Any] | None = None, **model: Any,
) -> Row:  # fmt: skip
    model = {
        "name": "two_layer", "hidden": hidden, "activation": "relu", "confidence": False, "eater": False, **model
    }  # fmt: skip
    size = 5 * hidden + 2 + model["confidence"]
    kind = "bce_with_logits" if loss == "bce" else "mse"
    init = init or {"name": "model"}
    return Row("xor_one_hot", model, size, init, (optimizer, rate, decay), cap, patience, runs, 42, kind)


NORMAL = {"name": "normal", "std": 0.5, "bias_std": 0.0}
KAIMING = {"name": "kaiming"}
ALIVE = {"name": "alive", "base": KAIMING, "margin": 0.0}
MARGIN = {"name": "alive", "base": KAIMING, "margin": 0.3}
SPHERE = {"name": "alive", "base": {"name": "hypersphere", "base": KAIMING, "radius": 1.4}, "margin": 0.3}
MONITOR = ({"name": "dead_samples", "patience": 5, "margin": 1e-4}, {"name": "bounds", "radius": 1.4, "patience": 3})
ANNEAL = ({"name": "annealing", "scale": 0.1, "threshold": 0.1},)


def below(threshold: float, kind: str = "loss_below") -> dict[str, Any]:
    return {"name": kind, "threshold": threshold, "base": NORMAL}


TABLE = {
    "abs1_normal": abs1(NORMAL, "adam", 0.01),
    "abs1_tiny": abs1({"name": "tiny"}, "adam", 0.01),
    "abs1_kaiming": abs1(KAIMING, "adam", 0.01),
    "abs1_xavier": abs1({"name": "xavier"}, "adam", 0.01),
    "abs1_large": abs1({"name": "large"}, "adam", 0.01, cap=2000),
    "abs1_kaiming_mse": abs1(KAIMING, "sgd", 0.5),
    "abs1_kaiming_adam_high_gain": abs1(KAIMING, "adam", 0.5),
    "abs1_convergence": abs1(NORMAL, "sgd", 0.1, runs=100),
    "abs1_mse_pivot_control": abs1(KAIMING, "sgd", 0.01),
    "abs1_mse_pivot": abs1(KAIMING, "sgd", 0.01, pivot=1.0),
    "relu1_normal": relu1(NORMAL),
    "relu1_kaiming": relu1(KAIMING),
    "relu1_reinit": relu1(ALIVE),
    "relu1_biased": relu1({"name": "biased", "base": NORMAL, "mean": 0.1, "std": 0.01}),
    "relu1_bhs": relu1(SPHERE, cap=2000),
    "relu1_reinit_margin": relu1(MARGIN, runs=500),
    "relu1_mirror": relu1({"name": "mirror", "base": NORMAL}, runs=1000),
    "relu1_leaky_8e-1": leaky(0.8, 0.01, 800),
    "relu1_leaky_1e-1": leaky(0.1, 0.01, 800),
    "relu1_leaky_1e-2": leaky(0.01, 0.01, 800),
    "relu1_leaky_-1e-2": leaky(-0.01, 0.01, 5000),
    "relu1_leaky_-1e-1": leaky(-0.1, 0.1, 5000),
    "relu1_leaky_-8e-1": leaky(-0.8, 0.1, 5000),
    "relu1_elu": relu1(KAIMING, 5000, model={"activation": "elu"}),
    "relu1_prelu": relu1(KAIMING, 5000, model={"activation": "prelu"}),
    "relu1_monitor": relu1(KAIMING, patience=None, runs=500, interventions=MONITOR),
    "relu1_anneal": relu1(NORMAL, 5000, None, interventions=ANNEAL),
    "relu1_reinit_50th": relu1(below(0.468)),
    "relu1_reinit_25th": relu1(below(0.325)),
    "relu1_reinit_0th": relu1(below(0.0724)),
    "relu1_reinit_50th_bad": relu1(below(0.468, "loss_above")),
    "relu1_init_dist": relu1(NORMAL, 0, None, runs=100, optimizer="none"),
    "relu2_init_dist": two(2, "mse", "none", cap=0, patience=None, runs=100),
    "relu1_convergence": relu1(NORMAL, 600, 20, 500, 0.1, optimizer="sgd", seed=501),
    "relu2_two_bce": two(2, "bce"),
    "relu2_two_mse": two(2, "mse"),
    "relu2_two_mse_sgd": two(2, "mse", "sgd", 0.1, cap=600, patience=None),
    "relu2_reinit_0th": two(
        2, "mse", "sgd", 0.1, cap=600, patience=None,
        init={"name": "loss_below", "threshold": 0.326, "base": {"name": "model"}},
    ),
    "relu2_convergence": two(2, "mse", "sgd", 0.1, cap=600, patience=20, runs=500),
    "relu2_one_mse_norm": two(1, "mse"),
    "relu2_three_mse_norm": two(3, "mse"),
    "relu2_four_mse_norm": two(4, "mse"),
    "relu2_eight_mse_norm": two(8, "mse"),
    "relu2_two_bce_l2reg": two(2, "bce", decay=0.1),
    "relu2_two_mse_l2reg": two(2, "mse", decay=0.1),
    "relu2_two_bce_eater": two(1, "bce", eater=True),
    "relu2_two_mse_eater": two(1, "mse", eater=True),
    "relu1_mse_pivot_control": relu1(
        {"name": "mirror", "base": KAIMING}, 2000, 20, 500, 0.1, optimizer="sgd",
    ),
    "relu1_mse_pivot": relu1(
        {"name": "mirror", "base": KAIMING}, 2000, 20, 500, 0.1, optimizer="sgd", model={"pivot_scale": 1.0},
    ),
}  # fmt: skip
for _loss in ("bce", "mse"):
    TABLE[f"abs2_single_{_loss}"] = two(1, _loss, activation="abs")
    TABLE[f"abs2_single_{_loss}_l2reg"] = two(1, _loss, decay=0.1, activation="abs")
    TABLE[f"abs2_single_{_loss}_norm"] = two(1, _loss, activation="abs")
    TABLE[f"abs2_single_{_loss}_confidence"] = two(1, _loss, activation="abs", confidence=True)
    TABLE[f"abs2_single_{_loss}_eater"] = two(1, _loss, activation="abs", eater=True)

SIZES = {"abs1_normal": 3, "relu1_normal": 6, "relu1_prelu": 7, "abs2_single_mse": 7, "relu2_two_mse": 12}
SIZES |= {"abs2_single_bce_confidence": 8, "relu2_one_mse_norm": 7, "relu2_eight_mse_norm": 42, "digits_mlp": 3466}
SIZES |= {"quadratic_bowl": 4, "rosenbrock_valley": 2, "saddle_point": 2}
SIZES |= {"digits_conv": 1898, "shapes_skip": 1536, "shapes_plain": 1232, "characters_transformer": 16067}


def holds(got: Any, wanted: Any) -> None:
    """Every option that the table names has its value."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            holds(got[key], value)
    else:
        assert got == wanted
        assert type(got) is type(wanted)


def test_everything_of_the_original_is_there() -> None:
    assert {name for name, entry in catalog().items() if "tr_xor" in entry.provenance} == set(TABLE)
    assert jaxor.list_experiments() == sorted(catalog())
    assert {*TABLE, *SIZES, "mnist_mlp"} <= set(jaxor.list_experiments())


@pytest.mark.parametrize("name", TABLE)
def test_a_row_of_the_table(name: str) -> None:
    experiment, row = jaxor.get_experiment(name), TABLE[name]
    plain = experiment.to_dict()
    assert (experiment.name, plain["task"], plain["loss"]) == (name, {"name": row.task}, {"name": row.loss})
    holds(plain["model"], row.model)
    holds(plain["init"], row.init)
    optimizer, rate, decay = row.optimizer
    options = {"learning_rate": rate, "weight_decay": decay, "schedule": {"name": "constant"}}
    options |= {"b1": 0.9, "b2": 0.99, "eps": 1e-8} if optimizer == "adam" else {}
    assert plain["optimizer"] == {"name": optimizer} | (options if optimizer != "none" else {})
    stop = {"loss": 1e-7, "min_improvement": 0.0}
    stop |= {} if row.patience is None else {"patience": row.patience, "min_improvement": 1e-24}
    assert plain["stop"] == stop
    assert plain["batch"] == {"mode": "full"}
    assert (experiment.max_epochs, experiment.steps_per_epoch, experiment.root_seed) == (row.cap, 1, 0)
    assert [rule["name"] for rule in plain.get("interventions", [])] == [rule["name"] for rule in row.interventions]
    for got, wanted in zip(plain.get("interventions", []), row.interventions, strict=True):
        holds(got, wanted)
    assert flat_order(experiment.build().model).size == row.parameters
    assert f"5357290 (2025-08-14); {row.runs} runs, torch seed {row.seed}" in get_entry(name).provenance


@pytest.mark.parametrize("name", SIZES)
def test_parameter_counts(name: str) -> None:
    assert flat_order(jaxor.get_experiment(name).build().model).size == SIZES[name]


@pytest.mark.parametrize("file", sorted(ORACLES.glob("*.npz")), ids=lambda file: file.stem)
def test_flat_order_is_that_of_the_original(file: Path) -> None:
    with np.load(file) as oracle:
        names = tuple(oracle["param_names"].tolist())
    assert flat_order(jaxor.get_experiment(file.stem).build().model).names == names


def test_flat_order_of_the_parameters_that_no_oracle_has() -> None:
    prelu = flat_order(jaxor.get_experiment("relu1_prelu").build().model).names
    assert prelu[4:] == ("linear1.bias[0]", "linear1.bias[1]", "activation.weight[0]")
    assert flat_order(jaxor.get_experiment("abs2_single_mse_confidence").build().model).names == (
        "linear1.weight[0,0]", "linear1.weight[0,1]", "linear1.bias[0]", "linear2.weight[0,0]", "linear2.weight[1,0]",
        "linear2.bias[0]", "linear2.bias[1]", "confidence.confidence[0]",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["abs1_normal", "abs1_large", "abs2_single_mse", "abs2_single_bce_eater"], "rounding noise"),
        (["abs1_xavier"], ".8165"),
        (["abs1_mse_pivot"], "never trains"),
        (["relu1_mse_pivot"], "probability .1"),
        (["relu1_normal", "relu1_reinit_0th"], "failures included"),
        (["relu1_reinit", "relu1_bhs", "relu1_reinit_margin", "relu1_monitor"], "June 2025"),
        (["relu1_mirror"], "N(0, 1)"),
        (["relu1_leaky_-1e-2"], ".01 for -.01"),
        (["relu1_prelu"], ".25"),
        (["relu1_elu", "relu1_prelu"], "800"),
        (["relu1_monitor"], "loss threshold"),
        (["relu1_anneal"], "imbalance"),
        (["relu1_reinit_25th", "relu2_reinit_0th"], "100 draws"),
        (["relu2_two_bce_eater", "relu2_two_mse_eater"], "One hidden unit"),
        (["abs2_single_bce_eater"], "follows the activation"),
        (["relu2_one_mse_norm", "relu2_eight_mse_norm"], "its code MSE"),
        (["relu2_four_mse_norm", "abs2_single_bce_norm"], "normalises the saved weights"),
    ],
)
def test_notes_say_where_the_original_differs_from_its_description(names: list[str], word: str) -> None:
    for name in names:
        assert word in get_entry(name).note


def test_every_experiment_builds_and_says_where_it_comes_from() -> None:
    for name, entry in catalog().items():
        assert entry.experiment.name == name
        assert entry.experiment.named
        assert entry.provenance
        if name == "mnist_mlp":  # its images are not everywhere
            continue
        assert len(entry.experiment.build().interventions) == len(entry.experiment.interventions)


def test_the_net_for_mnist() -> None:
    pixels, classes = np.zeros((100, 784)), np.eye(10)[np.arange(100) % 10]
    experiment = jaxor.get_experiment("mnist_mlp").replace(task=jaxor.Task(pixels, classes, argmax_accuracy))
    assert flat_order(experiment.build().model).size == 26_506


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ExperimentError, match=r"unknown experiment 'relu1_norml'; did you mean relu1_normal"):
        jaxor.get_experiment("relu1_norml")
    with pytest.raises(ExperimentError, match="unknown experiment"):
        get_entry("")


def test_the_default_is_there() -> None:
    assert DEFAULT == "abs1_convergence"
    assert DEFAULT in jaxor.list_experiments()


def test_entries_one_by_one_are_those_of_the_catalogue() -> None:
    assert {name: get_entry(name) for name in catalog()} == catalog()
