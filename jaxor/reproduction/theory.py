"""Early stage convergence and global convergence: what the corollaries, lemmas and theorems say of two-layer nets.

The paper's appendices were not at hand; what was derived here in their place is said in `jaxor.analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxor.analysis.assumptions import LOSSES, ROUNDING, separation
from jaxor.analysis.bounds import COROLLARY_4_7_DESCENT, corollary_4_3
from jaxor.analysis.corollaries import RATE, many_classes
from jaxor.analysis.descents import descents
from jaxor.analysis.hitting import corollary_4_3_steps, corollary_4_7_steps
from jaxor.analysis.lemmas import lemmas
from jaxor.analysis.rates import rates
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.analysis.table1 import COUNT, image_experiment
from jaxor.engine.parameters import flat_order
from jaxor.engine.simulate import precision
from jaxor.experiments.images import load_images, unit_rows
from jaxor.experiments.loss import Loss, exponential, hinge, logistic
from jaxor.reproduction.figures import Finding, Floats, Measured, Missing
from jaxor.reproduction.work import Work

BATCH = 100
"""Of SGD with replacement."""

NARROW = 12
"""Units of a net with fewer parameters than there are images."""

RATES = 0.01, 0.005, 0.002, 0.001
"""Of Table 1."""

PAIR, EACH = (3, 8), 10
"""Two classes of digits, and points of each."""


def theory(runs: int, work: Work) -> Mapping[str, Measured]:
    """What is promised, on data for which the premises hold."""
    nets = SeparatedNets()
    return (
        _without_their_proof()
        | _assumptions()
        | _losses()
        | _early(nets, runs, work)
        | _many_classes(runs, work)
        | _lemmas(nets, runs, work)
        | _global(nets, runs, work)
    )


def _without_their_proof() -> dict[str, Measured]:
    """Figures that come out of appendices, and what is made to give them."""
    unseen = "it comes out of an appendix that was not at hand"
    steps: dict[str, Measured] = {
        f"steps/{eta:g}": Missing(
            f"{unseen}; floor(ln 2 / (2 eta)), made to fit all four, gives {corollary_4_7_steps(eta)}"
        )
        for eta in RATES
    }
    early = Missing(f"{unseen}; floor(ln(1 + sqrt 2) / (2 eta)), made to fit it, gives {corollary_4_3_steps(RATE)}")
    return steps | {"early/steps": early} | dict.fromkeys(("slope", "loss", "fall"), Missing(unseen))


def _assumptions() -> dict[str, Measured]:
    """Assumption 4.1 on data of which the paper says that it holds."""
    images = load_images("digits", COUNT)
    rows = unit_rows(images)
    one, other = (rows[images.labels == digit][:EACH] for digit in PAIR)
    flipped = separation(np.concatenate([one, -other]), np.repeat([1.0, -1.0], EACH))
    least, largest = (SeparatedNets(data).separation.mu0 for data in ("one_pair", "antipodal"))
    assert least is not None and largest is not None and flipped.mu0 is not None  # noqa: S101 (they are few points)
    return {
        "flipping": Finding(
            flipped.gamma > 0 and flipped.across <= 0,
            f"of {2 * EACH} digits products within a class are {flipped.gamma:.3f} at least, across classes "
            f"{flipped.across:.3f} at most",
        ),
        "addition": Finding(flipped.mu0 > 0, f"of the same digits mu_0 is {flipped.mu0:.3f}"),
        "antipode": Finding(least == 1, f"with one pair mu_0 is {least:.3f}"),
        "largest": Finding(
            max(least, largest) < 1 + ROUNDING,
            f"it is {largest:.6f} where all points have their antipodes, {least:.3f} with one pair of them",
        ),
    }  # fmt: skip


def _curve(loss: Loss, z: Floats) -> Floats:
    """Value, slope and curvature (3, n) of a loss at margins."""

    def of_margin(one: jax.Array) -> jax.Array:
        return loss(one[None], jnp.ones(1))

    slope = jax.grad(of_margin)
    with precision(True):
        return np.array([jax.vmap(each)(jnp.asarray(z)) for each in (of_margin, slope, jax.grad(slope))])


def _losses() -> dict[str, Measured]:
    """Assumptions 4.4 and 5.1 with the constants that the paper gives for its losses."""
    early, late = np.linspace(0, 1, 1001)[:-1], np.linspace(-30, 30, 6001)
    said, jumps = {}, {}
    for name, loss in (("exponential", exponential()), ("logistic", logistic()), ("hinge", hinge())):
        constants, (_, slope, curvature) = LOSSES[name], _curve(loss, early)
        assert constants.g_min and constants.g_max and constants.h_max is not None  # noqa: S101 (all three have them)
        within = constants.g_min <= (-slope).min() + ROUNDING and (-slope).max() <= constants.g_max + ROUNDING
        said[name] = bool(within and curvature.min() >= 0 and curvature.max() <= constants.h_max + ROUNDING)
        left, right = _curve(loss, np.array([1 - 1e-6, 1 + 1e-6]))[1]
        jumps[name] = abs(right - left)
    ratios = {name: _curve(loss, late) for name, loss in (("exponential", exponential()), ("logistic", logistic()))}
    typical = {}
    for name, (value, slope, curvature) in ratios.items():
        constants, pace = LOSSES[name], -slope / value
        assert constants.g_a and constants.g_b and constants.h  # noqa: S101 (both have them)
        typical[name] = bool(
            (pace <= constants.g_b + ROUNDING).all() and (pace[late >= 0] >= constants.g_a - ROUNDING).all()
            and (curvature >= 0).all() and (curvature <= (constants.h + ROUNDING) * value).all()
        )  # fmt: skip
    return {
        "constants": Finding(all(said.values()), f"{_yes(said)}, at {len(early):,} z from 0 to 1"),
        "twice": Finding(
            bool(max(jumps.values()) < 1e-3),
            "slopes left and right of z = 1 differ by "
            + ", ".join(f"{jump:.2g} ({name})" for name, jump in jumps.items()),
        ),
        "exponential_type": Finding(all(typical.values()), f"{_yes(typical)}, at {len(late):,} z from -30 to 30"),
    }


def _yes(said: Mapping[str, bool]) -> str:
    return ", ".join(f"{name} {'yes' if holds else 'no'}" for name, holds in said.items())


def _early(nets: SeparatedNets, runs: int, work: Work) -> dict[str, Measured]:
    steps = corollary_4_3_steps(RATE)
    work.watch(f"Corollary 4.3: {steps} steps")
    bound = corollary_4_3(nets.separation, nets.setting("quadratic"))
    seen = descents(nets.descent(steps), runs, bound, x64=True)
    kept = seen.kept
    assert kept is not None and bound.bound is not None  # noqa: S101 (the data are separated)
    return {
        "early/descent": Finding(
            kept.share == 1,
            f"{kept.count:,} of {runs:,} runs fall by {bound.bound:.4f} or more, on average by {seen.mean:.4f}",
        ),
    }


def _many_classes(runs: int, work: Work) -> dict[str, Measured]:
    seen = many_classes("digits", runs, batches=(BATCH,), losses=("exponential", "logistic", "hinge"), watch=work.watch)
    by_loss = {found.experiment.to_dict()["loss"]["name"]: found for _, found in seen.by_batch}
    narrow = image_experiment(
        "digits", width=NARROW, rate=RATE, steps=corollary_4_7_steps(RATE), init="paper42", loss="exponential",
        kappa=min(RATE / 10, RATE / (3 * BATCH)), batch=BATCH,
    )  # fmt: skip
    few = descents(narrow, runs).values
    parameters = flat_order(narrow.build().model).size
    found: dict[str, Measured] = {
        f"many/{loss}": Finding(
            bool(found.values.min() >= COROLLARY_4_7_DESCENT),
            f"{runs} runs fall by {found.values.min():.4f} to {found.values.max():.4f}",
        )
        for loss, found in by_loss.items()
    }
    found["mild"] = Finding(
        bool(parameters < COUNT and few.min() >= COROLLARY_4_7_DESCENT),
        f"{runs} nets of {parameters} parameters on {COUNT:,} images fall by {few.min():.4f} to {few.max():.4f}",
    )
    return found


def _lemmas(nets: SeparatedNets, runs: int, work: Work) -> dict[str, Measured]:
    seen = lemmas(nets, runs, kappas=(), watch=work.watch)
    broken = {name: int(counts.sum()) for name, counts in seen.sweep[0].counts.items()}
    checks = "; ".join(f"{check.name}, {check.statement}: {check.holds.share:.0%}" for check in seen.checks)
    decreasing = float(seen.figures["P1"][:, 0].mean() / nets.width)
    balance = seen.figures["balance"]
    drift = float(np.abs(balance - balance[:, :1]).max())
    return {
        "partition": Finding(
            not any(broken.values()),
            f"pairs of neuron and point that break S1 to S5 in {runs} runs: {', '.join(map(str, broken.values()))}",
        ),
        "lemmas": Finding(
            all(check.holds.share == 1 for check in seen.checks), f"kept in {runs} runs by these shares: {checks}"
        ),
        "from_0": Finding(decreasing == 0, f"in the first step it falls for {decreasing:.0%} of the neurons"),
        "hitting": Finding(
            bool(seen.hitting_times.min() >= corollary_4_3_steps(RATE)),
            f"in {seen.steps} steps of {runs} runs the first time is {seen.hitting_times.min()} or later",
        ),
        "balance": Finding(drift > ROUNDING, f"it drifts by up to {drift:.2g} in {seen.steps} steps"),
    }


def _global(nets: SeparatedNets, runs: int, work: Work) -> dict[str, Measured]:
    seen = rates(nets, runs, decay_seeds=min(runs, 16), watch=work.watch)
    by_loss = [
        f"{one.loss}: L(t + 1) / L(t) is {np.median(one.ratios):.3f}, at most {one.ratios.max():.4f}, promised "
        f"{one.bound.bound:.4f}"
        for one in seen.contractions
    ]
    gradients = [
        f"{one.loss}: |grad L| / L is at least {one.gradient_ratios.min():.3f}, promised {one.gradient_bound:.3f}"
        for one in seen.contractions
    ]
    slopes = ", ".join(
        f"t^{np.median(one.slopes):.2f} ({one.experiment.to_dict()['loss']['name']}, r = {one.power:g})"
        for one in seen.decays
    )
    literal = next(one for one in seen.literal if not one.experiment.to_dict()["optimizer"]["capped"])
    return {
        "exponential_rate": Finding(
            all(one.kept.share == 1 for one in seen.contractions), f"{runs} runs, {'; '.join(by_loss)}"
        ),
        "gradient": Finding(
            all(one.gradient_kept.share == 1 for one in seen.contractions), f"{runs} runs, {'; '.join(gradients)}"
        ),
        "polynomial_rate": Missing(
            "what follows T0 in the theorem's schedule cannot be read in the copy at hand; with the closest reading of "
            f"what is left of it {literal.diverged} of {len(literal.losses)} runs diverge; with one of ours, which has "
            f"it so by construction, the loss falls as {slopes}"
        ),
    }
