"""Made-up experiments, for hypothesis."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

NAMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(string.ascii_letters + string.digits),
        st.text(string.ascii_letters + string.digits + "_-.", max_size=12),
    ),
)
COUNTS = st.integers(1, 1000)
POSITIVE = st.floats(1e-6, 1e6)
NOT_NEGATIVE = st.one_of(st.just(0), st.floats(0, 1e6))  # whole numbers stand for floats


def table(name: str, required: dict[str, Any] | None = None, **optional: Any) -> Any:
    """A part, with any of its options left out."""
    return st.fixed_dictionaries({"name": st.just(name)} | (required or {}), optional=optional)


SCHEDULES = st.one_of(
    st.just("constant"),
    table("linear", {"steps": COUNTS}, end_factor=NOT_NEGATIVE),
    table("exponential", {"steps": COUNTS, "factor": POSITIVE}),
    table("cosine", {"steps": st.integers(101, 1000)}, warmup=st.integers(0, 100), end_factor=NOT_NEGATIVE),
)
DESCENT = {"weight_decay": NOT_NEGATIVE, "schedule": SCHEDULES}
RATE = {"learning_rate": POSITIVE}
OPTIMIZERS = st.one_of(
    st.just("none"),
    table("sgd", RATE, **DESCENT),
    table("momentum", RATE, momentum=st.floats(0, 0.999), nesterov=st.booleans(), **DESCENT),
    table("inverse_loss", learning_rate=POSITIVE, first_rate=POSITIVE),
    table("power_law", RATE, power=st.floats(1, 9), constant_steps=st.integers(0, 999), first_rate=POSITIVE),
    table("power_law_literal", RATE | {"v": POSITIVE}, g_a=POSITIVE, power=st.floats(1, 9), capped=st.booleans()),
    table("adam", RATE, b1=st.floats(0, 0.999), b2=st.floats(0, 0.999), eps=NOT_NEGATIVE, **DESCENT),
)
ACTIVATION = {
    "activation": st.sampled_from(["abs", "relu", "leaky_relu", "elu", "prelu"]),
    "slope": st.floats(-2, 2),
}
PIVOT = {"pivot_scale": NOT_NEGATIVE, "pivot_probability": st.floats(0, 1)}
MODELS = st.one_of(
    table("abs1", **PIVOT),
    table("relu1", units=COUNTS, **ACTIVATION, **PIVOT),
    table("two_layer", hidden=COUNTS, confidence=st.booleans(), eater=st.booleans(), **ACTIVATION),
    table("relu_net", {"inputs": COUNTS, "hidden": COUNTS}, bias=st.booleans(), train_output=st.booleans()),
    table("conv_net", side=st.sampled_from([4, 8]), channels=st.integers(1, 9), classes=COUNTS),
    table("encoder_decoder", side=st.sampled_from([4, 8]), channels=st.integers(1, 9), skip=st.booleans()),
    table("transformer", vocabulary=COUNTS, window=COUNTS, width=st.sampled_from([4, 8]), layers=st.integers(1, 2)),
    table("mlp", {"widths": st.lists(COUNTS, min_size=2, max_size=4)}),
)
DRAWN = st.one_of(
    st.sampled_from(["model", "tiny", "large", "xavier", "kaiming"]),
    table("paper42", kappa=NOT_NEGATIVE, dimension=st.integers(0, 99)),
    table("notebook", kappa=NOT_NEGATIVE),
    table("normal", std=NOT_NEGATIVE, bias_std=NOT_NEGATIVE),
)
INITIALIZERS = st.recursive(
    DRAWN,
    lambda base: st.one_of(
        table("biased", base=base, mean=st.floats(-10, 10), std=NOT_NEGATIVE),
        table("mirror", base=base),
        table("hypersphere", base=base, radius=POSITIVE),
        table("alive", base=base, margin=st.floats(-10, 10), max_draws=COUNTS),
        table("loss_below", {"threshold": POSITIVE}, base=base, max_draws=COUNTS),
        table("loss_above", {"threshold": POSITIVE}, base=base),
        table("loss_percentile", {"percentile": st.floats(0.001, 99.999)}, base=base, sample=COUNTS, max_draws=COUNTS),
        table("best_of", {"draws": COUNTS}, base=base),
        table("first_batch", {"draws": COUNTS}, base=base),
        table("scaled", {"factor": NOT_NEGATIVE}, base=base),
    ),
    max_leaves=3,
)
INTERVENTIONS = st.lists(
    st.one_of(
        table("dead_samples", patience=st.integers(0, 99), margin=st.floats(0, 1)),
        table("bounds", radius=POSITIVE, patience=st.integers(0, 99)),
        table("annealing", scale=NOT_NEGATIVE, threshold=st.floats(-1, 1)),
    ),
    max_size=3,
)
STOPS = st.fixed_dictionaries({}, optional={"loss": POSITIVE, "patience": COUNTS, "min_improvement": NOT_NEGATIVE})
BATCHES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"mode": st.sampled_from(["shuffle", "replacement", "stream"]), "size": COUNTS}),
    st.fixed_dictionaries({"mode": st.just("replacement"), "size": COUNTS}, optional={"steps": COUNTS}),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """An experiment as a table; its parts need not fit together."""
    optional = {
        "init": INITIALIZERS,
        "loss": st.sampled_from(
            ["mse", "bce_with_logits", "cross_entropy", "quadratic", "logistic", "exponential", "hinge"]
        ),
        "stop": STOPS,
        "batch": BATCHES,
        "root_seed": st.integers(0, 2**32 - 1),
    }
    required = {
        "name": NAMES,
        "task": st.sampled_from(["xor", "xor_one_hot"]),
        "model": MODELS,
        "optimizer": OPTIMIZERS,
        "max_epochs": st.integers(0, 2**31 - 1),
    }
    made = draw(st.fixed_dictionaries(required, optional=optional))
    if made["task"] == "xor" and not made.get("batch"):
        made |= draw(st.fixed_dictionaries({}, optional={"interventions": INTERVENTIONS}))
    return made


JUNK = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=5)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=5), st.just("name")), inner, max_size=3)
    ),
    max_leaves=4,
)
"""What a mistaken file may hold in place of any value."""
