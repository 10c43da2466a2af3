"""Parity of three bits, learned by one neuron whose activation is a sine."""

import itertools

import jax.numpy as jnp
import numpy as np

from jaxor import Experiment, Task
from jaxor.experiments.model import plain
from jaxor.experiments.task import threshold_accuracy

corners = np.array(list(itertools.product([-1, 1], repeat=3)), np.float32)
parity = Task(
    inputs=corners,
    targets=(corners.prod(axis=1) < 0).astype(np.float32),
    accuracy=threshold_accuracy,
)


def forward(params, inputs):
    z = inputs @ params["neuron.weight"][0] + params["neuron.bias"][0]
    return (1 + jnp.sin(z)) / 2


experiment = Experiment(
    "parity",
    task=parity,
    model=plain({"neuron.weight": (1, 3), "neuron.bias": (1,)}, forward),
    init={"name": "normal", "std": 1.0},
    optimizer={"name": "adam", "learning_rate": 0.05},
    stop={"loss": 1e-7},
    max_epochs=1000,
)
