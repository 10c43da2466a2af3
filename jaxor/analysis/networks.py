"""Small networks for regression, trained full batch by Adam as the article trains its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxor.experiments.optimizer import adam, constant

PADDING = 1024
"""Rows; see `Rows.padded`."""

Layers = list[tuple[Any, Any]]
"""Weights (inputs, outputs) and biases (outputs,) of every layer."""


class Rows(NamedTuple):
    """Features (n, F), targets (n,), and how much each row counts (n,)."""

    features: Any
    targets: Any
    weights: Any

    def at(self, places: NDArray[np.intp]) -> Rows:
        """Some of the rows."""
        return Rows(*(array[places] for array in self))

    def padded(self) -> Rows:
        """With rows that count nothing up to a multiple of `PADDING`, so that few shapes have to be compiled."""
        missing = -len(self.targets) % PADDING
        return Rows(*(np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) for array in self))


def training_rows(model: BaseEstimator, X: Any, y: Any) -> Rows:
    """Rows of a fit, checked and in float32; the model takes note of the number of features."""
    features, targets = validate_data(model, X, y, dtype=np.float32, y_numeric=True)
    return Rows(features, np.asarray(targets, np.float32), np.ones(len(features), np.float32))


def new_features(model: BaseEstimator, X: Any) -> Any:
    """Features to predict from, checked against those of the fit and in float32."""
    check_is_fitted(model)
    return validate_data(model, X, dtype=np.float32, reset=False)


class Training(NamedTuple):
    """Where training stands.

    The loss watched at a step is that of the parameters before it; `best` are the parameters where it was lowest, and
    `idle` counts the steps since.
    """

    step: Array
    layers: Any
    optimizer: Any
    best: Any
    best_loss: Array
    idle: Array


def initial_layers(widths: Sequence[int], random_state: int) -> Layers:
    """First parameters of fully connected layers, uniform on +-1/sqrt(inputs) as torch draws them.

    Parameters
    ----------
    widths : sequence of int
        From the inputs to the outputs.
    random_state : int

    Returns
    -------
    list of (weights, biases)
        float32 arrays (inputs, outputs) and (outputs,).

    Examples
    --------
    >>> [(weights.shape, biases.shape) for weights, biases in initial_layers([18, 32, 1], 0)]
    [((18, 32), (32,)), ((32, 1), (1,))]
    """
    random = np.random.default_rng(random_state)

    def draw(bound: float, *shape: int) -> NDArray[np.float32]:
        return random.uniform(-bound, bound, shape).astype(np.float32)

    return [(draw(inputs**-0.5, inputs, outputs), draw(inputs**-0.5, outputs)) for inputs, outputs in pairwise(widths)]


def _outputs(layers: Layers, features: Array) -> Array:
    """Outputs (n,) of a network with ReLU between its layers."""
    for place, (weights, biases) in enumerate(layers):
        hidden = jax.nn.relu(features) if place else features
        features = jnp.matmul(hidden, weights, precision="highest") + biases  # a GPU would round to 10 bits
    return features[:, 0]


def _error(layers: Layers, rows: Rows) -> Array:
    """Mean squared error over rows."""
    return jnp.sum(rows.weights * (_outputs(layers, rows.features) - rows.targets) ** 2) / jnp.sum(rows.weights)


@partial(jax.jit, static_argnames=["learning_rate", "weight_decay"])
def train(
    layers: Layers,
    rows: Rows,
    held_out: Rows | None,
    steps: int,
    patience: int,
    *,
    learning_rate: float,
    weight_decay: float,
) -> Training:
    """Train by Adam until the loss watched has not fallen for `patience` steps, or for all `steps`.

    Parameters
    ----------
    layers : list of (weights, biases)
        First parameters.
    rows : Rows
        All of them are in every step.
    held_out : Rows or None
        Rows whose loss is watched; None watches the loss that is trained on.
    steps, patience : int
    learning_rate, weight_decay : float
        Of Adam with torch's other settings; the decay is L2 in the gradient.

    Returns
    -------
    Training
        After the last step.
    """
    optimizer = adam(learning_rate=learning_rate, b2=0.999, weight_decay=weight_decay, schedule=constant())

    def goes_on(training: Training) -> Array:
        return (training.step < steps) & (training.idle < patience)

    def advance(training: Training) -> Training:
        loss, gradient = jax.value_and_grad(_error)(training.layers, rows)
        if held_out is not None:
            loss = _error(training.layers, held_out)
        better = loss < training.best_loss
        change, state = optimizer.update(gradient, training.optimizer, training.layers)
        return Training(
            step=training.step + 1,
            layers=optax.apply_updates(training.layers, change),
            optimizer=state,
            best=jax.tree.map(partial(jnp.where, better), training.layers, training.best),
            best_loss=jnp.where(better, loss, training.best_loss),
            idle=jnp.where(better, 0, training.idle + 1),
        )

    none = jnp.zeros((), int)
    start = Training(none, layers, optimizer.init(layers), layers, jnp.asarray(np.inf, jnp.float32), none)
    return jax.lax.while_loop(goes_on, advance, start)


class Network(RegressorMixin, BaseEstimator):
    """Fully connected ReLU network; without hidden layers a linear model.

    Trained in float32 on the mean squared error of all rows at once, neither features nor targets scaled.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers.
    learning_rate, weight_decay : float
        Of Adam; the decay is L2 in the gradient.
    steps : int
        At most so many.
    patience : int or None
        Steps in a row without a new lowest loss after which training ends; None for never.
    validation : float or None
        Share of the groups that is set aside; then the loss on their rows is watched, and the parameters where it was
        lowest are kept. None watches the loss trained on and keeps the last parameters.
    random_state : int
        Of the first parameters and of the groups set aside.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        float32 (inputs, outputs) and (outputs,), layer by layer.
    steps_ : int
        Steps taken.
    best_loss_ : float
        Lowest of the losses watched.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 20)[:, None]
    >>> line = Network(hidden=(), learning_rate=0.1, steps=300).fit(X, 3 * X[:, 0] + 1)
    >>> line.coef_.round(3), round(line.intercept_, 3)
    (array([3.], dtype=float32), 1.0)
    """

    # What scikit-learn looks up to hand the groups on to `fit`.
    __metadata_request__fit = {"groups": True}

    coefs_: list[NDArray[np.float32]]
    intercepts_: list[NDArray[np.float32]]

    def __init__(
        self,
        hidden: Sequence[int] = (32, 16),
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        steps: int = 500,
        patience: int | None = None,
        validation: float | None = None,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.steps = steps
        self.patience = patience
        self.validation = validation
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train from fresh parameters.

        Parameters
        ----------
        X : array_like, shape (n, F)
        y : array_like, shape (n,)
        groups : array_like, shape (n,), optional
            Which rows belong together, such as those of one seed. Needed with `validation`, else unused.

        Raises
        ------
        ValueError
            `validation` without at least two groups; training diverged.
        """
        rows, held_out = training_rows(self, X, y), None
        if self.validation is not None:
            training, validating = self._split(groups, len(rows.features))
            rows, held_out = rows.at(training), rows.at(validating)
        end = train(
            initial_layers([rows.features.shape[1], *self.hidden, 1], self.random_state),
            rows.padded(),
            None if held_out is None else held_out.padded(),
            self.steps,
            self.steps if self.patience is None else self.patience,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )
        self.steps_, self.best_loss_ = int(end.step), float(end.best_loss)
        layers = jax.tree.map(np.asarray, end.layers if held_out is None else end.best)
        if not all(np.isfinite(array).all() for layer in layers for array in layer):
            largest = " and ".join(f"{name} up to {np.abs(getattr(rows, name)).max():.3g}" for name in rows._fields[:2])
            raise ValueError(f"training diverged within {self.steps_} steps, with {largest}: scale them first")
        self.coefs_, self.intercepts_ = map(list, zip(*layers, strict=True))
        return self

    def _split(self, groups: ArrayLike | None, n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Places of the rows to train on, and of those set aside."""
        found = 0 if groups is None else len(np.unique(np.asarray(groups)))
        if found < 2:
            raise ValueError(
                f"validation sets whole groups aside, such as the rows of a seed, and needs two or more; got {found}: "
                "pass groups with one entry a row, or validation=None"
            )
        split = GroupShuffleSplit(1, test_size=self.validation, random_state=self.random_state)
        return next(split.split(np.empty(n), groups=groups))

    def predict(self, X: ArrayLike) -> NDArray[np.float32]:
        """Predictions (n,) in float32."""
        found = new_features(self, X)
        for place, (weights, biases) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            found = (np.maximum(found, 0) if place else found) @ weights + biases
        return found[:, 0]

    @property
    def coef_(self) -> NDArray[np.float32]:
        """Weights (F,) of a model without hidden layers."""
        weights, *deeper = self.coefs_
        if deeper:
            raise AttributeError("a network with hidden layers has no coef_: its weights are coefs_")
        return weights[:, 0]

    @property
    def intercept_(self) -> float:
        """Intercept of a model without hidden layers."""
        biases, *deeper = self.intercepts_
        if deeper:
            raise AttributeError("a network with hidden layers has no intercept_: its biases are intercepts_")
        return float(biases[0])
