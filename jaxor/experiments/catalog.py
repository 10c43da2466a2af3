"""The catalogue: experiments by name, with where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError, nearest

ORIGIN = "alanoursland/tr_xor at 5357290 (2025-08-14)"
DEFAULT = "abs1_convergence"


@dataclass(frozen=True)
class Entry:
    """An experiment of the catalogue.

    Attributes
    ----------
    experiment : Experiment
    provenance : str
        Where it comes from, with the number of runs and the torch seed of the original.
    note : str
        What a user should know: where the original differs from its own description, what jaxor does instead.
    """

    experiment: Experiment
    provenance: str
    note: str


ADAM = {"name": "adam", "learning_rate": 0.01}
SGD = {"name": "sgd", "learning_rate": 0.1}
LOSS_STOP = {"loss": 1e-7}
PATIENCE_10 = {"loss": 1e-7, "patience": 10, "min_improvement": 1e-24}
PATIENCE_20 = {"loss": 1e-7, "patience": 20, "min_improvement": 1e-24}


def _adam(learning_rate: float) -> dict[str, Any]:
    return {"name": "adam", "learning_rate": learning_rate}


def _sgd(learning_rate: float) -> dict[str, Any]:
    return {"name": "sgd", "learning_rate": learning_rate}


def _entry(runs: int, seed: int, note: str = "", *, name: str, **parts: Any) -> Entry:
    return Entry(Experiment(name=name, **parts), f"{ORIGIN}; {runs} runs, torch seed {seed}", note)


NOISE = (
    "In the original the hidden bias under Adam is rounding noise blown up to whole steps; jaxor sums the points in "
    "pairs, so that the bias stays exactly 0 as in real arithmetic."
)


def _abs1() -> Iterator[Entry]:
    def entry(
        name: str, init: str, optimizer: Any = ADAM, cap: int = 1000, runs: int = 50, note: str = "", **model: Any
    ) -> Entry:
        return _entry(
            runs, 42, note, name=name, task="xor", model={"name": "abs1", **model}, init=init, optimizer=optimizer,
            stop=LOSS_STOP, max_epochs=cap,
        )  # fmt: skip

    yield entry("abs1_normal", "normal", note=NOISE)
    yield entry("abs1_tiny", "tiny", note=NOISE)
    yield entry("abs1_kaiming", "kaiming", note=NOISE)
    yield entry("abs1_xavier", "xavier", note=NOISE + " The standard deviation is .8165, as in its code, not .7071.")
    yield entry("abs1_large", "large", cap=2000, note=NOISE)
    yield entry("abs1_kaiming_mse", "kaiming", _sgd(0.5))
    yield entry("abs1_kaiming_adam_high_gain", "kaiming", _adam(0.5), note=NOISE)
    yield entry(
        "abs1_convergence", "normal", SGD, runs=100,
        note="The experiment of the convergence-time article, whose runs are those of commit 2476800 (2025-07-04): "
        "other draws from the same law.",
    )  # fmt: skip
    yield entry("abs1_mse_pivot_control", "kaiming", _sgd(0.01))
    yield entry(
        "abs1_mse_pivot", "kaiming", _sgd(0.01), pivot_scale=1.0,
        note="The original never trains (its optimizer holds the parameters of the control); jaxor trains it. Pivots "
        "jump with probability .1 a step.",
    )  # fmt: skip


def _relu1() -> Iterator[Entry]:
    def entry(
        name: str, init: Any, optimizer: Any = ADAM, cap: int = 800, stop: Any = PATIENCE_10, runs: int = 50,
        seed: int = 18, note: str = "", interventions: Any = (), **model: Any,
    ) -> Entry:  # fmt: skip
        return _entry(
            runs, seed, note, name=name, task="xor", model={"name": "relu1", **model}, init=init, optimizer=optimizer,
            stop=stop, max_epochs=cap, interventions=interventions,
        )  # fmt: skip

    june = "Reports of June 2025 start from N(0, .5^2); this is the later version, which starts from Kaiming."
    epochs = (
        "Epochs in the article are those of all runs, failures included, and patience ends some successes before the "
        "loss threshold does."
    )
    yield entry("relu1_normal", "normal", note=f"The control of the loss-sampling article. {epochs}")
    yield entry("relu1_kaiming", "kaiming")
    yield entry(
        "relu1_reinit", {"name": "alive", "base": "kaiming"},
        note=june + " The original gives up after 100 draws (its manuscript: keeps the best).",
    )  # fmt: skip
    yield entry("relu1_biased", "biased")
    yield entry(
        "relu1_bhs", {"name": "alive", "base": "hypersphere", "margin": 0.3}, cap=2000,
        note=june + " The radius 1.4 is less than the corners' distance, sqrt(2).",
    )  # fmt: skip
    yield entry("relu1_reinit_margin", {"name": "alive", "base": "kaiming", "margin": 0.3}, runs=500, note=june)
    yield entry(
        "relu1_mirror", "mirror", runs=1000,
        note="Mirrors a draw from N(0, .5^2), as in the code; the manuscript says N(0, 1).",
    )  # fmt: skip
    sign = "The manuscript's formula of the activation has another sign; here it is slope z for z <= 0, as in the code."
    for label, slope in (("8e-1", 0.8), ("1e-1", 0.1), ("1e-2", 0.01)):
        yield entry(f"relu1_leaky_{label}", "kaiming", activation="leaky_relu", slope=slope, note=sign)
    for label, slope, rate in (("-1e-2", -0.01, 0.01), ("-1e-1", -0.1, 0.1), ("-8e-1", -0.8, 0.1)):
        yield entry(
            f"relu1_leaky_{label}", "kaiming", _adam(rate), cap=5000, activation="leaky_relu", slope=slope,
            note="The manuscript says learning rate .1 for all negative slopes; the code uses .01 for -.01. " + sign,
        )  # fmt: skip
    yield entry(
        "relu1_elu", "kaiming", cap=5000, activation="elu", note="Cap 5000 as in the code; the manuscript says 800."
    )
    yield entry(
        "relu1_prelu", "kaiming", cap=5000, activation="prelu",
        note="The slope starts at .25 as in the code (manuscript: .01), cap 5000 (manuscript: 800).",
    )  # fmt: skip
    yield entry(
        "relu1_monitor", "kaiming", stop=LOSS_STOP, runs=500, interventions=["dead_samples", "bounds"],
        note=june + " The manuscript says that all runs take 800 epochs, but they end at the loss threshold, and its "
        "table of epochs does not belong to this configuration.",
    )  # fmt: skip
    yield entry(
        "relu1_anneal", "normal", cap=5000, stop=LOSS_STOP, interventions=["annealing"],
        note="Noise is added when the imbalance is above .1 (the text says the temperature). It grows with the loss, "
        "so that runs can blow up. The article's runs drew their noise on a GPU.",
    )  # fmt: skip
    for label, kind, threshold in (
        ("50th", "loss_below", 0.468), ("25th", "loss_below", 0.325), ("0th", "loss_below", 0.0724),
        ("50th_bad", "loss_above", 0.468),
    ):  # fmt: skip
        yield entry(
            f"relu1_reinit_{label}", {"name": kind, "threshold": threshold},
            note=f"The threshold is a quantile of one scan of 100 draws, not an exact percentile. {epochs}",
        )  # fmt: skip
    yield entry("relu1_init_dist", "normal", "none", cap=0, stop=LOSS_STOP, runs=100, note="Initial losses only.")
    yield entry("relu1_convergence", "normal", SGD, cap=600, stop=PATIENCE_20, runs=500, seed=501)
    jumps = "Pivots jump with probability .1 a step, as in the code; its text says at every step."
    for label, scale in (("_control", 0.0), ("", 1.0)):
        yield entry(
            f"relu1_mse_pivot{label}", {"name": "mirror", "base": "kaiming"}, SGD, cap=2000, stop=PATIENCE_20, runs=500,
            pivot_scale=scale, note=jumps if scale else "",
        )  # fmt: skip


def _two_layer() -> Iterator[Entry]:
    def entry(
        name: str, hidden: int, loss: str = "mse", optimizer: Any = ADAM, cap: int = 5000, stop: Any = PATIENCE_10,
        init: Any = "model", runs: int = 50, note: str = "", **model: Any,
    ) -> Entry:  # fmt: skip
        return _entry(
            runs, 42, note, name=name, task="xor_one_hot", model={"name": "two_layer", "hidden": hidden, **model},
            init=init, loss=loss, optimizer=optimizer, stop=stop, max_epochs=cap,
        )  # fmt: skip

    names = {"bce": "bce_with_logits", "mse": "mse"}
    decay = {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.1}
    norm = "The original normalises the saved weights after its statistics are taken; training is the same without."
    one_unit = "One hidden unit, as in the code, in spite of its name."
    sgd = {"optimizer": SGD, "cap": 600}
    yield entry(
        "relu2_two_mse_sgd", 2, stop=LOSS_STOP, **sgd,
        note="The second control of the loss-sampling article, which counts 10 parameters; there are 12.",
    )  # fmt: skip
    yield entry(
        "relu2_reinit_0th", 2, stop=LOSS_STOP, init={"name": "loss_below", "base": "model", "threshold": 0.326}, **sgd,
        note="The threshold is the lowest loss of one scan of 100 draws; P(loss < .326) is about .0053.",
    )  # fmt: skip
    yield entry("relu2_convergence", 2, stop=PATIENCE_20, runs=500, **sgd)
    for label, hidden in (("one", 1), ("three", 3), ("four", 4), ("eight", 8)):
        yield entry(f"relu2_{label}_mse_norm", hidden, note=f"{norm} Its description says BCE, its code MSE.")
    for short, loss in names.items():
        yield entry(f"relu2_two_{short}", 2, loss)
        yield entry(f"relu2_two_{short}_l2reg", 2, loss, decay)
        yield entry(f"relu2_two_{short}_eater", 1, loss, eater=True, note=one_unit)
        single = {"hidden": 1, "loss": loss, "activation": "abs"}
        yield entry(f"abs2_single_{short}", **single, note=NOISE)
        yield entry(f"abs2_single_{short}_l2reg", **single, optimizer=decay, note=NOISE)
        yield entry(f"abs2_single_{short}_norm", **single, note=f"{norm} {NOISE}")
        yield entry(f"abs2_single_{short}_confidence", **single, confidence=True, note=NOISE)
        yield entry(
            f"abs2_single_{short}_eater", **single, eater=True,
            note=f"The eater follows the activation, as in the code; the article puts it before. {NOISE}",
        )  # fmt: skip
    yield entry("relu2_init_dist", 2, optimizer="none", cap=0, stop=LOSS_STOP, runs=100, note="Initial losses only.")


def _digits() -> Iterator[Entry]:
    yield Entry(
        Experiment(
            "digits_mlp", task="digits", model={"name": "mlp", "widths": [64, 32, 32, 10]}, loss="cross_entropy",
            optimizer=SGD, batch={"mode": "shuffle", "size": 64}, max_epochs=60,
        ),
        "jaxor: a small net on scikit-learn's digits, 3,466 parameters, 28 steps an epoch",
        "No stop rule but the cap: 1,680 steps.",
    )  # fmt: skip


def _surfaces() -> Iterator[Entry]:
    def entry(name: str, model: Any, rate: float, cap: int, note: str, std: float = 0.5, **stop: float) -> Entry:
        experiment = Experiment(
            name, task="origin", model=model, init={"name": "normal", "std": std}, loss="value", optimizer=_sgd(rate),
            stop=stop, max_epochs=cap,
        )  # fmt: skip
        return Entry(experiment, "jaxor: a function of a point, where paths are known in closed form", note)

    yield entry(
        "quadratic_bowl", {"name": "quadratic", "eigenvalues": [1, 2, 5, 10]}, 0.05, 500,
        "RSI and EB to the minimum lie between 1 and 10 everywhere.", **LOSS_STOP,
    )  # fmt: skip
    yield entry(
        "rosenbrock_valley", "rosenbrock", 0.004, 1000,
        "The rate is twice what the curvature at the minimum, 1,001.6, bears, so runs never settle: they jump from "
        "wall to wall. With rates that settle they follow the floor of the valley, where the cosine is positive.",
        std=0.25,
    )  # fmt: skip
    yield entry(
        "saddle_point", "saddle", 0.05, 100,
        "Runs leave the stationary point 0 along the second axis, up to 10^4 by the cap; the value has no minimum. "
        "Towards its own end a path has a positive cosine at every step all the same.",
    )  # fmt: skip


def _wide() -> Iterator[Entry]:
    """Small nets of the usual kinds, beside `digits_mlp`."""

    def entry(name: str, task: Any, model: Any, rate: float, epochs: int, what: str, note: str = "") -> Entry:
        return Entry(
            Experiment(
                name, task=task, model=model, loss="cross_entropy", optimizer=_sgd(rate),
                batch={"mode": "shuffle", "size": 64}, max_epochs=epochs,
            ),
            f"jaxor: {what}",
            f"{note}No stop rule but the cap: {epochs} epochs.",
        )  # fmt: skip

    yield entry(
        "mnist_mlp", {"name": "images", "source": "mnist"}, {"name": "mlp", "widths": [784, 32, 32, 10]}, 0.5, 60,
        "a small net on the first 1,000 images of MNIST, 26,506 parameters, 15 steps an epoch",
        "The images have to be there, see the task images. ",
    )  # fmt: skip
    yield entry(
        "digits_conv", "digits", "conv_net", 0.2, 30,
        "a small convolutional net on scikit-learn's digits, 1,898 parameters, 28 steps an epoch",
    )  # fmt: skip
    for kind, skip, size in (("skip", True, "1,536"), ("plain", False, "1,232")):
        yield entry(
            f"shapes_{kind}", "shapes", {"name": "encoder_decoder", "skip": skip}, 0.3, 40,
            f"segmentation, an encoder-decoder {'with' if skip else 'without'} skip connections on pictures of 16 x 16 "
            f"pixels, {size} parameters, 8 steps an epoch",
        )  # fmt: skip
    yield entry(
        "characters_transformer", "characters", "transformer", 0.4, 16,
        "language by the character, a transformer of one layer on windows of 32, 16,067 parameters, 16 steps an epoch",
    )  # fmt: skip


def _entries() -> Iterator[Entry]:
    for part in (_abs1, _relu1, _two_layer, _digits, _wide, _surfaces):
        yield from part()


@cache
def catalog() -> dict[str, Entry]:
    """All entries by name."""
    return {entry.experiment.name: entry for entry in _entries()}


def list_experiments() -> list[str]:
    """Names of the catalogue, sorted.

    Examples
    --------
    >>> "abs1_convergence" in list_experiments()
    True
    """
    return sorted(catalog())


def get_experiment(name: str) -> Experiment:
    """An experiment of the catalogue.

    Raises
    ------
    ExperimentError
        Unknown name; the message gives the nearest.

    Examples
    --------
    >>> get_experiment("relu1_normal").max_epochs
    800
    """
    return get_entry(name).experiment


@cache
def get_entry(name: str) -> Entry:
    """An experiment with its provenance.

    Raises
    ------
    ExperimentError
        Unknown name; the message gives the nearest.
    """
    for entry in _entries():  # to check the others takes longer than `jaxor --help`
        if entry.experiment.name == name:
            return entry
    raise ExperimentError(f"unknown experiment {name!r}; {nearest(name, catalog())}")
