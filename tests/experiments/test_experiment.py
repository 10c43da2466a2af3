"""Experiments: frozen, written down and read back, edited, and every mistake named."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import pickle
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxor
from jaxor.experiments.experiment import Batch, Experiment, Source, Stop
from jaxor.experiments.intervention import Intervention
from jaxor.experiments.model import Model, plain
from jaxor.experiments.registry import Component, ExperimentError
from jaxor.experiments.task import XOR_INPUTS, Task, threshold_accuracy
from tests.examples import examples
from tests.experiments import generated

many = settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])

BASE: dict[str, Any] = {
    "name": "mine",
    "task": "xor",
    "model": "relu1",
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "max_epochs": 10,
}


def make(**changes: Any) -> Experiment:
    return Experiment.from_dict(BASE | changes)


RICH = make(
    init={"name": "alive", "base": {"name": "normal", "std": 0.5}, "margin": 0.1},
    optimizer={"name": "adam", "learning_rate": 0.01, "schedule": {"name": "linear", "steps": 100}},
    stop={"loss": 1e-7, "patience": 10, "min_improvement": 1e-24},
    interventions=["dead_samples", {"name": "bounds", "radius": 2.0}],
    root_seed=3,
)
BATCHED = make(task="xor_one_hot", model="two_layer", batch={"mode": "shuffle", "size": 2})


# Frozen


def test_keys_cannot_be_assigned() -> None:
    for key in ("name", "max_epochs", "optimizer"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(RICH, key, getattr(RICH, key))
    for part in (RICH.stop, RICH.batch, RICH.init):
        with pytest.raises(dataclasses.FrozenInstanceError):
            part.name = "other"


def test_options_cannot_be_assigned() -> None:
    before = RICH.identity
    with pytest.raises(TypeError):
        RICH.optimizer.options["learning_rate"] = 1.0
    with pytest.raises(TypeError):
        jaxor.get_experiment("abs1_normal").init.options["std"] = 1.0
    assert RICH.identity == before


def test_what_the_user_gave_can_change_later() -> None:
    widths, model, rules = [2, 3, 2], {"name": "mlp"}, ["bounds"]
    model |= {"widths": widths}
    experiment = make(model=model, task="xor_one_hot")
    ruled = make(interventions=rules)
    widths.append(5)
    model["name"] = "abs1"
    rules.append("annealing")
    assert experiment.to_dict()["model"] == {"name": "mlp", "widths": [2, 3, 2]}
    assert [rule.name for rule in ruled.interventions] == ["bounds"]
    experiment.to_dict()["model"]["widths"].append(9)
    assert experiment.to_dict()["model"]["widths"] == [2, 3, 2]


# Written down and read back


def same_in_every_form(experiment: Experiment) -> None:
    plain_table = experiment.to_dict()
    text = json.dumps(plain_table)
    assert json.loads(text) == plain_table
    for again in (
        Experiment.from_dict(plain_table),
        Experiment.from_dict(json.loads(text)),
        Experiment.from_toml(experiment.to_toml()),
        pickle.loads(pickle.dumps(experiment)),  # noqa: S301
        copy.deepcopy(experiment),
    ):
        assert again == experiment
        assert hash(again) == hash(experiment)
        assert again.identity == experiment.identity
        assert again.to_dict() == plain_table


@pytest.mark.parametrize("name", jaxor.list_experiments())
def test_round_trips_of_the_catalogue(name: str) -> None:
    same_in_every_form(jaxor.get_experiment(name))


@many
@given(generated.tables())
def test_round_trips_of_any_experiment(table: dict[str, Any]) -> None:
    same_in_every_form(Experiment.from_dict(table))


def test_a_source_is_written_down() -> None:
    experiment = dataclasses.replace(RICH, source=Source("mine.py", "ab" * 32))
    same_in_every_form(experiment)
    assert experiment.to_dict()["source"] == {"file": "mine.py", "sha256": "ab" * 32}
    assert experiment != RICH


def test_rules_that_are_off_are_left_out() -> None:
    table = make().to_dict()
    assert table["stop"] == {"min_improvement": 0.0}
    assert table["batch"] == {"mode": "full"}
    assert not {"interventions", "source"} & table.keys()


def test_repr_can_be_read() -> None:
    assert repr(make().init) == "Component('model', {})"
    assert "'learning_rate': 0.01" in repr(make())


# Identity


def shuffled(value: Any) -> Any:
    """The same tables with their keys in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@many
@given(generated.tables())
def test_identity_is_the_hash_of_the_canonical_form(table: dict[str, Any]) -> None:
    experiment = Experiment.from_dict(table)
    canonical = experiment.to_dict()
    assert experiment.identity == hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()
    assert Experiment.from_dict(shuffled(canonical)).identity == experiment.identity
    assert Experiment.from_dict(shuffled(table)).identity == experiment.identity


def test_identity_does_not_change_when_defaults_are_spelled_out() -> None:
    spelled = make(
        model={"name": "relu1", "units": 2, "activation": "relu", "slope": 0.01, "pivot_scale": 0},
        init={"name": "model"},
        loss={"name": "mse"},
        optimizer={"name": "adam", "learning_rate": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-8, "schedule": "constant"},
        batch={"mode": "full"},
        stop={"min_improvement": 0},
        interventions=[],
        root_seed=0,
    )
    assert spelled == make()
    assert spelled.identity == make().identity


CHANGES: list[tuple[Experiment, str, Any]] = [
    (RICH, "name", "other"),
    (RICH, "model", "abs1"),
    (RICH, "model.units", 3),
    (RICH, "model.activation", "elu"),
    (RICH, "model.slope", 0.02),
    (RICH, "model.pivot_scale", 1.0),
    (RICH, "model.pivot_probability", 0.2),
    (RICH, "init", "kaiming"),
    (RICH, "init.base.std", 0.4),
    (RICH, "init.base.bias_std", 0.4),
    (RICH, "init.base", "xavier"),
    (RICH, "init.margin", 0.2),
    (RICH, "init.max_draws", 99),
    (RICH, "loss", "bce_with_logits"),
    (RICH, "optimizer.name", "sgd"),
    (RICH, "optimizer.learning_rate", 0.02),
    (RICH, "optimizer.b1", 0.8),
    (RICH, "optimizer.b2", 0.999),
    (RICH, "optimizer.eps", 1e-7),
    (RICH, "optimizer.weight_decay", 0.1),
    (RICH, "optimizer.schedule", "constant"),
    (RICH, "optimizer.schedule.steps", 99),
    (RICH, "optimizer.schedule.end_factor", 0.5),
    (RICH, "stop.loss", 1e-6),
    (RICH, "stop.loss", None),
    (RICH, "stop.patience", 11),
    (RICH, "stop.patience", None),
    (RICH, "stop.min_improvement", 1e-9),
    (RICH, "max_epochs", 11),
    (RICH, "interventions", ["bounds"]),
    (RICH, "interventions", [{"name": "bounds", "radius": 2.0}, "dead_samples"]),
    (RICH, "root_seed", 4),
    (RICH, "source", {"file": "mine.py", "sha256": "0"}),
    (BATCHED, "task", "xor"),
    (BATCHED, "batch.mode", "replacement"),
    (BATCHED, "batch.size", 3),
    (BATCHED, "batch", {}),
    (BATCHED, "model.hidden", 3),
    (BATCHED, "model.confidence", True),
    (BATCHED, "model.eater", True),
]


@pytest.mark.parametrize(("experiment", "key", "value"), CHANGES, ids=[f"{key}={value}" for _, key, value in CHANGES])
def test_every_key_changes_the_identity(experiment: Experiment, key: str, value: Any) -> None:
    changed = experiment.replace(**{key: value})
    assert changed != experiment
    assert changed.identity != experiment.identity
    found: Any = changed.to_dict()
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else found
    if value is None:
        assert found is None
    elif isinstance(value, int | float | bool):
        assert found == value


def test_identities_of_the_catalogue_differ() -> None:
    names = jaxor.list_experiments()
    same_law = {jaxor.get_experiment(name).replace(name="x").identity for name in names}
    assert len({jaxor.get_experiment(name).identity for name in names}) == len(names)
    assert len(same_law) == len(names) - 2  # two of them only normalise weights after training


# Edited


def test_replace_leaves_the_original_alone_and_keeps_the_rest() -> None:
    changed = RICH.replace(**{"init.base.std": 0.25, "stop.patience": None, "max_epochs": 7})
    assert changed.init.options["base"].options["std"] == 0.25
    assert changed.init.options["margin"] == 0.1
    assert (changed.stop.patience, changed.stop.loss, changed.max_epochs) == (None, 1e-7, 7)
    assert RICH.init.options["base"].options["std"] == 0.5
    assert changed.replace(**{"init.base.std": 0.5, "stop.patience": 10, "max_epochs": 10}) == RICH


def test_replace_reaches_into_schedules() -> None:
    options = RICH.replace(**{"optimizer.schedule.steps": 50}).optimizer.options
    assert options["schedule"].to_plain() == {"name": "linear", "steps": 50, "end_factor": 0.0}
    table = {"name": "exponential", "steps": 10, "factor": 0.5}
    options = RICH.replace(**{"optimizer.schedule": table}).optimizer.options
    assert options["schedule"].to_plain() == table
    plain_rate = make().replace(**{"optimizer.schedule.name": "linear", "optimizer.schedule.steps": 5})
    assert plain_rate.optimizer.options["schedule"].to_plain() == {"name": "linear", "steps": 5, "end_factor": 0.0}


def test_a_new_name_keeps_the_options_that_both_have() -> None:
    switched = RICH.replace(**{"optimizer.name": "momentum", "optimizer.momentum": 0.5}).optimizer
    assert switched.name == "momentum"
    assert (switched.options["learning_rate"], switched.options["momentum"]) == (0.01, 0.5)
    assert switched.options["schedule"] == RICH.optimizer.options["schedule"]
    assert "b1" not in switched.options
    assert RICH.replace(**{"optimizer.momentum": 0.5, "optimizer.name": "momentum"}).optimizer == switched
    cosine = RICH.replace(**{"optimizer.schedule.end_factor": 0.5, "optimizer.schedule.name": "cosine"})
    assert cosine.optimizer.options["schedule"].options["end_factor"] == 0.5
    steps = RICH.replace(**{"optimizer.schedule.name": "exponential", "optimizer.schedule.factor": 0.5})
    assert steps.optimizer.options["schedule"].to_plain() == {"name": "exponential", "steps": 100, "factor": 0.5}
    assert RICH.replace(**{"init.name": "loss_below", "init.threshold": 0.1}).init.options["base"].name == "normal"
    assert RICH.replace(**{"init.base.name": "kaiming"}).init.options["base"] == Component("kaiming")
    assert RICH.replace(**{"optimizer.name": "none"}).optimizer == Component("none")


def test_replace_of_a_whole_part_forgets_its_options() -> None:
    assert RICH.replace(init="alive").init.options["margin"] == 0
    with pytest.raises(ExperimentError, match=r"optimizer\.learning_rate is missing"):
        RICH.replace(optimizer="sgd")


def test_full_batches_have_no_size() -> None:
    full = BATCHED.replace(**{"batch.mode": "full", "batch.size": None})
    assert full.batch == Batch()
    assert BATCHED.steps_per_epoch == 2
    assert BATCHED.replace(**{"batch.size": 3}).steps_per_epoch == 1


# Mistakes


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"models": "abs1"}, "models is not a key of an experiment; did you mean model"),
    ({"learning_rate": 0.1}, "learning_rate is not a key of an experiment"),
    ({"name": ""}, "name must be made of letters"),
    ({"name": "a/b"}, "name must be made of letters, digits and _ - . and start .*got 'a/b'"),
    ({"name": "../up"}, "name must be"),
    ({"name": "ärger"}, "name must be"),
    ({"name": 3}, "name must be a text, got 3"),
    ({"task": "xr"}, "task names the unknown task 'xr'; did you mean xor"),
    ({"task": 4}, "task must be a name, a table with a name, or a Python object made for it, got 4"),
    ({"task": {"name": "xor", "size": 3}}, "task.size is not an option of the task 'xor'; it takes none"),
    ({"model": {"name": "relu2"}}, "model names the unknown model 'relu2'; did you mean relu1"),
    ({"model": {"units": 2}}, "model needs a name, got None; known: abs1, conv_net"),
    ({"model": {"name": ["abs1"]}}, r"model needs a name, got \['abs1'\]"),
    ({"model": {"name": "relu1", "unit": 2}}, "model.unit is not an option of the model 'relu1'; did you mean units"),
    ({"model": {"name": "relu1", "units": 2.0}}, "model.units must be a whole number, got 2.0"),
    ({"model": {"name": "relu1", "units": True}}, "model.units must be a whole number, got True"),
    ({"model": {"name": "relu1", "units": 0}}, "model.units must be positive, got 0"),
    ({"model": {"name": "relu1", "units": 2**31}}, "model.units must be below 2147483648"),
    ({"model": {"name": "relu1", "activation": "tanh"}}, "model.activation must be one of abs, relu, .*got 'tanh'"),
    ({"model": {"name": "relu1", "slope": "steep"}}, "model.slope must be a number, got 'steep'"),
    ({"model": {"name": "relu1", "slope": float("nan")}}, "model.slope must be a finite number"),
    ({"model": {"name": "abs1", "pivot_scale": -1}}, "model.pivot_scale must be 0 or positive"),
    ({"model": {"name": "abs1", "pivot_probability": 1.1}}, "model.pivot_probability must be between 0 and 1"),
    ({"model": {"name": "two_layer", "hidden": -1}}, "model.hidden must be positive"),
    ({"model": {"name": "two_layer", "eater": 1}}, "model.eater must be true or false, got 1"),
    ({"model": "mlp"}, "model.widths is missing: the model 'mlp' needs it"),
    ({"model": {"name": "mlp", "widths": [2]}}, "model.widths must be at least two positive numbers"),
    ({"model": {"name": "mlp", "widths": [2, 0]}}, "model.widths must be at least two positive numbers"),
    ({"model": {"name": "mlp", "widths": [2, "3"]}}, r"model.widths\[1\] must be a whole number, got '3'"),
    ({"model": {"name": "mlp", "widths": 3}}, "model.widths must be a list of whole numbers, got 3"),
    ({"init": "norml"}, "init names the unknown initializer 'norml'; did you mean normal"),
    ({"init": {"name": "normal", "std": -1}}, "init.std must be 0 or positive, got -1"),
    ({"init": {"name": "normal", "bias_std": -1}}, "init.bias_std must be 0 or positive"),
    ({"init": {"name": "biased", "std": -1}}, "init.std must be 0 or positive"),
    ({"init": {"name": "hypersphere", "radius": 0}}, "init.radius must be positive"),
    ({"init": {"name": "alive", "max_draws": 0}}, "init.max_draws must be positive"),
    ({"init": {"name": "alive", "max_draws": 2**40}}, "init.max_draws must be below"),
    ({"init": {"name": "alive", "base": "warm"}}, "init.base names the unknown initializer 'warm'"),
    ({"init": {"name": "alive", "base": {"name": "normal", "std": -1}}}, "init.base.std must be 0 or positive"),
    ({"init": {"name": "alive", "base": {"name": "normal", "sd": 1}}}, "init.base.sd is not an option .* std"),
    (
        {"init": {"name": "mirror", "base": {"name": "alive", "base": {"name": "normal", "std": "x"}}}},
        "init.base.base.std must be a number, got 'x'",
    ),
    ({"init": "loss_below"}, "init.threshold is missing: the initializer 'loss_below' needs it"),
    ({"loss": "mes"}, "loss names the unknown loss 'mes'; did you mean mse"),
    ({"optimizer": "sgd"}, "optimizer.learning_rate is missing: the optimizer 'sgd' needs it"),
    ({"optimizer": "adamw"}, "optimizer names the unknown optimizer 'adamw'; did you mean adam"),
    ({"optimizer": ("adam", 0.1)}, "optimizer must be a name, a table"),
    ({"optimizer": {"name": "sgd", "lr": 0.1}}, "optimizer.lr is not an option of the optimizer 'sgd'"),
    ({"optimizer": {"name": "sgd", "learning_rate": 0}}, "optimizer.learning_rate must be positive, got 0"),
    ({"optimizer": {"name": "sgd", "learning_rate": "fast"}}, "optimizer.learning_rate must be a number, got 'fast'"),
    ({"optimizer": {"name": "sgd", "learning_rate": 10**400}}, "optimizer.learning_rate must be a finite number"),
    ({"optimizer": {"name": "sgd", "learning_rate": 1e39}}, "optimizer.learning_rate must be .*float32"),
    ({"optimizer": {"name": "adam", "learning_rate": 1, "b1": 1}}, "optimizer.b1 must be at least 0 and below 1"),
    ({"optimizer": {"name": "adam", "learning_rate": 1, "b2": -0.1}}, "optimizer.b2 must be at least 0 and below 1"),
    ({"optimizer": {"name": "adam", "learning_rate": 1, "eps": -1}}, "optimizer.eps must be 0 or positive"),
    ({"optimizer": {"name": "momentum", "learning_rate": 1, "momentum": 1}}, "optimizer.momentum must be at least 0"),
    ({"optimizer": {"name": "sgd", "learning_rate": 1, "weight_decay": -1}}, "optimizer.weight_decay must be 0 or"),
    (
        {"optimizer": {"name": "sgd", "learning_rate": 1, "schedule": "lienar"}},
        "optimizer.schedule names the unknown schedule 'lienar'; did you mean linear",
    ),
    (
        {"optimizer": {"name": "sgd", "learning_rate": 1, "schedule": {"name": "linear", "steps": 0}}},
        "optimizer.schedule.steps must be positive",
    ),
    (
        {"optimizer": {"name": "sgd", "learning_rate": 1, "schedule": {"name": "exponential", "steps": 1}}},
        "optimizer.schedule.factor is missing",
    ),
    (
        {
            "optimizer": {
                "name": "sgd",
                "learning_rate": 1,
                "schedule": {"name": "exponential", "steps": 1, "factor": 0},
            }
        },
        "optimizer.schedule.factor must be positive",
    ),
    (
        {"optimizer": {"name": "sgd", "learning_rate": 1, "schedule": {"name": "cosine", "steps": 5, "warmup": 5}}},
        "optimizer.schedule.steps must be more than the warm-up",
    ),
    (
        {
            "optimizer": {
                "name": "sgd",
                "learning_rate": 1,
                "schedule": {"name": "cosine", "steps": 5, "end_factor": -1},
            }
        },
        "optimizer.schedule.end_factor must be 0 or positive",
    ),
    ({"batch": "full"}, "batch must be a table, got 'full'"),
    ({"batch": {"mode": "random"}}, "batch.mode must be one of full, shuffle, replacement, stream, got 'random'"),
    ({"batch": {"mode": 1}}, "batch.mode must be a text"),
    ({"batch": {"mode": "shuffle"}}, "batch.size must be a positive whole number, got None"),
    ({"batch": {"mode": "shuffle", "size": 0}}, "batch.size must be a positive whole number"),
    ({"batch": {"mode": "shuffle", "size": "2"}}, "batch.size must be a whole number or left out, got '2'"),
    ({"batch": {"size": 2}}, "batch.size must be left out when batch.mode is full, got 2"),
    ({"batch": {"mode": "shuffle", "size": 2, "order": "mine"}}, "batch.order must be shared or left out, got 'mine'"),
    ({"batch": {"order": "shared"}}, "batch.order must be left out when batch.mode is full, got 'shared'"),
    ({"batch": {"sizes": 2}}, "batch.sizes is not a key of an experiment; did you mean size"),
    ({"stop": {"loss": 0}}, "stop.loss must be positive, got 0"),
    ({"stop": {"loss": "low"}}, "stop.loss must be a number or left out, got 'low'"),
    ({"stop": {"patience": 0}}, "stop.patience must be positive"),
    ({"stop": {"patience": 1.5}}, "stop.patience must be a whole number or left out"),
    ({"stop": {"min_improvement": -1}}, "stop.min_improvement must be 0 or positive"),
    ({"stop": {"min_improvement": None}}, "stop.min_improvement must be a number, got None"),
    ({"stop": {"patients": 3}}, "stop.patients is not a key of an experiment; did you mean patience"),
    ({"stop": 1e-7}, "stop must be a table, got 1e-07"),
    ({"max_epochs": -1}, "max_epochs must be 0 or positive, got -1"),
    ({"max_epochs": 10.0}, "max_epochs must be a whole number, got 10.0"),
    ({"max_epochs": 2**31}, "max_epochs must be below 2147483648"),
    ({"root_seed": -1}, "root_seed must be between 0 and"),
    ({"root_seed": 2**32}, "root_seed must be below 4294967296"),
    ({"interventions": "bounds"}, "interventions must be a list, got 'bounds'"),
    ({"interventions": ["bound"]}, r"interventions\[0\] names the unknown intervention 'bound'; did you mean bounds"),
    ({"interventions": [3]}, r"interventions\[0\] must be a name"),
    ({"interventions": ["bounds", {"name": "bounds", "radius": 0}]}, r"interventions\[1\].radius must be positive"),
    ({"interventions": [{"name": "bounds", "patience": -1}]}, r"interventions\[0\].patience must be 0 or positive"),
    ({"interventions": [{"name": "dead_samples", "patience": -1}]}, r"interventions\[0\].patience must be 0"),
    ({"interventions": [{"name": "annealing", "scale": -1}]}, r"interventions\[0\].scale must be 0 or positive"),
    ({"interventions": ["bounds"], "batch": {"mode": "shuffle", "size": 2}}, "interventions need batch.mode full"),
    ({"interventions": ["dead_samples"], "task": "xor_one_hot"}, r"interventions\[0\].name dead_samples needs a task"),
    ({"source": "mine.py"}, "source must be a table, got 'mine.py'"),
    ({"source": {"file": "mine.py"}}, "source needs file and sha256, got file"),
    ({"source": {"file": 3, "sha256": "0"}}, "source.file must be a text"),
    ({"source": {"file": "a", "sha": "0", "sha256": "0"}}, "source.sha is not a key of an experiment"),
    ({"model": {"python": "mine"}}, "mine has parts made in Python; load it from its file of its author"),
    (
        {"model": {"python": "mine"}, "source": {"file": "mine.py", "sha256": "0"}},
        "mine has parts made in Python; load it from its file mine.py",
    ),
    ({"interventions": [{"python": "rule"}]}, "mine has parts made in Python"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_is_named_with_its_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        Experiment.from_dict(BASE | change)
    with pytest.raises(ValueError, match=message):
        make().replace(**change) if "python" not in str(change) else Experiment.from_dict(BASE | change)


@pytest.mark.parametrize("key", ["name", "task", "model", "optimizer", "max_epochs"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ExperimentError, match=f"^{key} is missing: an experiment needs"):
        Experiment.from_dict({kept: value for kept, value in BASE.items() if kept != key})


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("optimiser.learning_rate", "optimiser is not a key of an experiment; did you mean optimizer"),
        ("optimizer.learningrate", r"optimizer\.learningrate is not an option .*did you mean learning_rate"),
        ("optimizer.schedule.step", r"optimizer\.schedule\.step is not an option of the schedule 'linear'.*steps"),
        ("init.base.mean", r"init\.base\.mean is not an option of the initializer 'normal'"),
        ("init.margin.size", r"init\.margin\.size cannot be set: init\.margin has no such options"),
        ("max_epochs.more", r"max_epochs\.more cannot be set: max_epochs has no such options"),
        ("interventions.patience", r"interventions\.patience cannot be set"),
        ("stop.losses", r"stop\.losses is not a key of an experiment; did you mean loss"),
        ("init.", r"init\. is not an option"),
        ("", " is not a key of an experiment"),
    ],
)
def test_replace_names_keys_that_are_not_there(key: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        RICH.replace(**{key: 1})


@pytest.mark.parametrize("table", [[], None, "abs1", 3, [("name", "x")]])
def test_an_experiment_is_a_table(table: Any) -> None:
    with pytest.raises(ExperimentError, match="an experiment must be a table of its keys"):
        Experiment.from_dict(table)


@pytest.mark.parametrize(
    "text", ["name = ", "max_epochs = " + "1" * 5000, "x = " + "[" * 5000, "\x00", "name = 'a'\nname = 'b'"]
)
def test_text_that_is_not_toml(text: str) -> None:
    with pytest.raises(ExperimentError, match="not valid TOML"):
        Experiment.from_toml(text)


def test_tables_of_their_own_are_checked_too() -> None:
    wrong: list[Any] = ["x", 1.5, True]
    for value in wrong:
        with pytest.raises(ExperimentError, match=r"batch\.size must be a whole number"):
            Batch("shuffle", value)
    with pytest.raises(ExperimentError, match=r"stop\.loss must be a number"):
        Stop(loss=wrong[0])
    with pytest.raises(ExperimentError, match=r"source\.sha256 must be a text"):
        Source("mine.py", wrong[1])
    assert Experiment(**BASE, stop=Stop(loss=1)).stop.loss == 1.0


def paths(table: Mapping[str, Any], head: str = "") -> Iterator[str]:
    """Dotted keys of everything in a table."""
    for key, value in table.items():
        yield head + key
        if isinstance(value, Mapping):
            yield from paths(value, f"{head}{key}.")


@settings(many, max_examples=examples(300))
@given(st.sampled_from([RICH, BATCHED]), st.data())
def test_junk_is_an_experiment_error_and_nothing_else(experiment: Experiment, data: st.DataObject) -> None:
    table = experiment.to_dict()
    key = data.draw(st.sampled_from([*paths(table)]))
    junk = data.draw(generated.JUNK)
    try:
        changed = experiment.replace(**{key: junk})
    except ExperimentError as error:
        assert re.search(re.escape(key.split(".")[0]), str(error))
        assert len(str(error)) < 400
    else:
        same_in_every_form(changed)


@settings(many, max_examples=examples(100))
@given(st.dictionaries(st.sampled_from([*RICH.to_dict(), "x"]), generated.JUNK))
def test_tables_of_junk_are_experiment_errors(table: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError):
        Experiment.from_dict(table)


@settings(many, max_examples=examples(100))
@given(st.text())
def test_text_of_junk_is_an_experiment_error(text: str) -> None:
    with pytest.raises(ExperimentError):
        Experiment.from_toml(text)


# Parts that do not fit together


def always(key: Any, setting: Any) -> dict[str, jax.Array]:
    return {"w": jnp.zeros(2)}


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"task": "xor_one_hot"}, r"outputs have shape \(4,\), the task's targets \(4, 2\)"),
    ({"model": {"name": "mlp", "widths": [2, 3, 1]}}, r"outputs have shape \(4, 1\), the task's targets \(4,\)"),
    ({"model": {"name": "mlp", "widths": [3, 2]}}, "the parts do not fit together: TypeError: dot_general"),
    ({"model": {"name": "mlp", "widths": [2, 2]}, "task": "xor_one_hot", "init": "alive"}, "init alive needs a model"),
    ({"model": plain({"w": (1, 2)}, lambda p, x: x @ p["w"][0]), "init": "mirror"}, "init mirror needs a model with"),
    ({"model": plain({"w": (1, 2)}, lambda p, x: x @ p["w"][0]), "init": "hypersphere"}, "init hypersphere needs"),
    ({"model": plain({"w": (1, 2)}, lambda p, x: x @ p["w"][0]), "interventions": ["bounds"]}, "bounds needs a model"),
    (
        {"model": plain({"w": (1, 2)}, lambda p, x: x @ p["w"][0]), "interventions": ["dead_samples"]},
        "dead_samples needs a model whose aux holds a preactivation",
    ),
    ({"model": plain({"w": (1, 2)}, lambda p, x: x @ p["v"][0])}, "the parts do not fit together: KeyError: 'v'"),
    ({"init": always}, r"init must be such that it gives the model's parameters .*got \{'w': \(2,\)\}"),
    (
        {"loss": lambda outputs, targets: outputs - targets},
        "loss must be a function whose result is one number",
    ),
    (
        {"task": Task(XOR_INPUTS, np.zeros(4, np.float32), lambda outputs, targets: outputs > targets)},
        r"task\.accuracy must be a function whose result is one number",
    ),
    (
        {"interventions": [Intervention(lambda p: 0, lambda s, look: (s, 0), lambda found, p, look: {})]},
        "interventions must be such that it gives the model's parameters",
    ),
    ({"batch": {"mode": "shuffle", "size": 5}}, "batch.size must be at most the task's 4 points, got 5"),
    (
        {"batch": {"mode": "shuffle", "size": 1}, "max_epochs": 2**30},
        r"max_epochs must be such that there are less than 2\^31 steps",
    ),
]


@pytest.mark.parametrize(("change", "message"), UNFIT, ids=[message[:40] for _, message in UNFIT])
def test_parts_that_do_not_fit_are_found_before_training(change: dict[str, Any], message: str) -> None:
    experiment = Experiment(**BASE | change)
    with pytest.raises(ExperimentError, match=message):
        experiment.build()
    with pytest.raises(ExperimentError, match=message):
        jaxor.simulate(experiment, 3)


# Parts made in Python


def test_parts_made_in_python() -> None:
    line = plain({"slope": (1, 2), "bias": (1,)}, lambda p, x: (x @ p["slope"].T + p["bias"])[:, 0])

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, key: jax.Array, setting: Any) -> dict[str, jax.Array]:
            return {"slope": jax.random.normal(key, (1, 2)), "bias": jnp.ones(1)}

    conjunction = Task(XOR_INPUTS, np.array([0, 0, 0, 1], np.float32), threshold_accuracy)
    mine = Experiment(
        "mine",
        task=conjunction,
        model=line,
        init=Unhashable(),
        loss=lambda outputs, targets: jnp.mean(jnp.abs(outputs - targets)),
        optimizer=optax.sgd(0.1),
        max_epochs=20,
        interventions=[Intervention(lambda p: 0, lambda s, look: (s, 0), lambda found, p, look: p)],
    )
    assert not mine.named
    table = mine.to_dict()
    assert table["task"] == {"python": "Task"}
    assert all("python" in table[key] for key in ("model", "init", "loss", "optimizer"))
    assert "python" in table["interventions"][0]
    json.dumps(table)
    with pytest.raises(ExperimentError, match="parts made in Python, which TOML cannot hold"):
        mine.to_toml()
    with pytest.raises(ExperimentError, match="has parts made in Python"):
        Experiment.from_dict(table)
    with pytest.raises(ExperimentError, match="optimizer.learning_rate cannot be set"):
        mine.replace(**{"optimizer.learning_rate": 0.2})
    run = jaxor.simulate(mine, 5, traces=False)
    assert (run.initial_params[:, 2] == 1).all()
    assert (run.final_loss < run.initial_loss).all()
    other = mine.replace(task=Task(XOR_INPUTS, -conjunction.targets, threshold_accuracy))
    assert mine != other
    assert mine == mine.replace()
    assert not np.array_equal(jaxor.simulate(other, 5, traces=False).final_loss, run.final_loss)


def test_kinds_of_python_parts_are_checked() -> None:
    wrong: dict[str, Any] = {"task": list, "model": list, "optimizer": (1, 2), "init": 3, "loss": 0.5}
    for key, part in wrong.items():
        with pytest.raises(ExperimentError, match=f"{key} must be a name, a table with a name, or a Python object"):
            Experiment(**BASE | {key: part})
    assert isinstance(make().build().model, Model)
