"""Measuring along paths: against loops over stored traces, closed forms and identities."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor import compute
from jaxor.analysis.exact import nearest_minimum
from jaxor.analysis.geometry import along
from jaxor.engine import looks
from jaxor.engine.geometry import BATCHES, FRACTIONS, LAGS, LOOKS, STEPS, Geometry, Measuring
from jaxor.engine.keys import BATCH, CONTROL, INIT, NOISE, run_key, stream
from jaxor.engine.measure import Ends
from jaxor.engine.objective import Objective
from jaxor.engine.parameters import flat_order
from jaxor.engine.status import Status
from jaxor.engine.step import Dynamics
from jaxor.experiments.experiment import Experiment
from jaxor.store.run import Run

Floats = NDArray[np.float64]
SEEDS = np.array([4, 0, 19, 7, 5, *range(20, 33)])  # more than a lane width; 4, 5 and 20, 21 are pairs, 7 and 19 alone

ABS1 = jaxor.get_experiment("abs1_convergence")
NET = Experiment(
    "net", task="antipodal", model={"name": "relu_net", "inputs": 50, "hidden": 9}, init="paper5", loss="quadratic",
    optimizer={"name": "sgd", "learning_rate": 0.1}, max_epochs=12,
)  # fmt: skip
COSINE = {"name": "sgd", "learning_rate": 0.1, "schedule": {"name": "cosine", "steps": 30, "warmup": 3}}
CASES: dict[str, tuple[Experiment, bool]] = {  # with x64 or without
    "sgd": (ABS1, True),
    "scheduled": (ABS1.replace(optimizer=COSINE, stop={}, max_epochs=30), False),
    "momentum": (
        ABS1.replace(
            optimizer={"name": "momentum", "learning_rate": 0.02}, stop={}, max_epochs=20,
            batch={"mode": "shuffle", "size": 2},
        ), False,
    ),
    "adam": (
        NET.replace(
            optimizer={"name": "adam", "learning_rate": 0.01, "weight_decay": 0.05},
            batch={"mode": "replacement", "size": 4},
        ), True,
    ),
    "stream": (NET.replace(batch={"mode": "stream", "size": 3}, max_epochs=60), False),
    "pivot": (jaxor.get_experiment("abs1_mse_pivot").replace(max_epochs=40, stop={}), False),
    "eater": (jaxor.get_experiment("relu2_two_bce_eater").replace(max_epochs=40, stop={}), False),
    "annealing": (jaxor.get_experiment("relu1_anneal").replace(max_epochs=40), False),
}  # fmt: skip
QUICK = "sgd", "adam"  # of all points and of minibatches
FULL = pytest.mark.full  # each case takes some seconds to compile
ALL = [*QUICK, *(pytest.param(name, marks=FULL) for name in CASES if name not in QUICK)]


@cache
def trained(name: str) -> Run:
    made, x64 = CASES[name]
    return jaxor.simulate(made, SEEDS, lane_width=16, traces="all", x64=x64)


@cache
def measured(name: str) -> Geometry:
    return jaxor.measure_run(trained(name))


class Path(NamedTuple):
    """One run as it was stored, and what a second program says of it; in the precision of the run."""

    params: Floats
    """(T + 1, P)"""
    loss: Floats
    """(T,)"""
    gradient: Floats
    """(T, P)"""
    full: Floats
    """(T + 1,), over the whole task"""
    full_gradient: Floats
    """(T + 1, P)"""
    batch_gradient: Floats
    """(T, k, P), of k fixed minibatches"""
    labels_gradient: Floats
    """(T, P)"""


@cache
def programs(name: str) -> Any:
    """Of one run: what `Path` holds, from first principles, by `jax.grad` and one loop over the steps."""
    made, _ = CASES[name]
    law, rules, size = made.build(), Dynamics(made), made.batch.size
    order, points = flat_order(law.model), len(law.task.inputs)
    decay = made.optimizer.options.get("weight_decay", 0.0)
    dealt = np.random.default_rng(made.root_seed).permutation(points)
    fixed = [dealt[size * i : size * (i + 1)] for i in range(min(points // size, BATCHES))] if size else []

    def points_of(key: Any, step: Any) -> tuple[Any, Any]:
        if made.batch.mode == "stream":
            assert law.task.sample is not None
            return law.task.sample(jax.random.fold_in(stream(key, BATCH), step), made.batch.size)
        if not made.batch.indexed:
            return jnp.asarray(law.task.inputs), jnp.asarray(law.task.targets)
        some = rules.batches(key, step)[step % made.steps_per_epoch]
        return jnp.asarray(law.task.inputs)[some], jnp.asarray(law.task.targets)[some]

    def value(w: Any, inputs: Any, targets: Any, state: Any, key: Any, train: bool) -> tuple[Any, Any]:
        outputs, _, state = law.model.apply(order.unflatten(w), inputs, state, key, train)
        return law.loss(outputs, targets) + decay / 2 * jnp.sum(w * w), state

    def in_use(w: Any, state: Any, inputs: Any, targets: Any) -> Any:
        return jax.value_and_grad(lambda w: value(w, inputs, targets, state, jax.random.key(0), False)[0])(w)

    def run(seed: Any, path: Any) -> Path:
        key = run_key(made.root_seed, seed)

        def row(state: Any, now: Any) -> Any:
            w, step = now
            inputs, targets = points_of(key, step)
            prepare, draw, _ = jax.random.split(jax.random.fold_in(stream(key, NOISE), step), 3)
            at, prepared = w, state
            if law.model.prepare is not None:
                params, prepared = law.model.prepare(order.unflatten(w), state, prepare)
                at = order.flatten(params)
            (loss, after), gradient = jax.value_and_grad(value, has_aux=True)(at, inputs, targets, prepared, draw, True)
            full, full_gradient = in_use(w, state, law.task.inputs, law.task.targets)
            few = [in_use(w, state, law.task.inputs[some], law.task.targets[some])[1] for some in fixed]
            chance = jax.random.fold_in(stream(key, CONTROL), step + 1)
            labels = in_use(w, state, inputs, jax.random.permutation(chance, targets))[1]
            several = jnp.stack(few) if few else jnp.zeros((0, order.size))
            return after, (loss, gradient, full, full_gradient, several, labels)

        steps = jnp.arange(len(path))
        state = law.model.init(stream(key, INIT))[1]
        _, rows = lax.scan(row, state, (path, steps))
        loss, gradient, full, full_gradient, several, labels = rows
        return Path(path, loss[:-1], gradient[:-1], full, full_gradient, several[:-1], labels[:-1])

    # Quickly compiled: the second opinion need not be fast.
    return jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})


@cache
def path_of(name: str, place: int) -> Path:
    made, run = CASES[name], trained(name)
    seed = int(run.seeds[place])
    params = points_passed(run, place)
    steps = len(params) - 1
    # As long as the longest, so that the program is compiled once; what follows the end is cut off again.
    padded = np.pad(params, ((0, int(run.steps.max()) - steps), (0, 0)), mode="edge")
    with jax.enable_x64(made[1]):
        found = Path(*(np.asarray(array, np.float64) for array in programs(name)(np.uint32(seed), padded)))
    at_points = {key: getattr(found, key)[: steps + 1] for key in ("params", "full", "full_gradient")}
    return Path(**{key: array[:steps] for key, array in found._asdict().items()} | at_points)


def points_passed(run: Run, place: int) -> NDArray[Any]:
    """(T + 1, P): where the run began and where each step led."""
    return np.concatenate([run.initial_params[place][None], run.trace(int(run.seeds[place])).params])


def tolerance(name: str) -> float:
    return 1e-12 if CASES[name][1] else 2e-5


def dots(a: Floats, b: Floats) -> Floats:
    return (a * b).sum(-1)


def cut(geometry: Geometry, place: int) -> Geometry:
    return geometry.take(np.array([place]))


def looks_of(steps: int) -> list[int]:
    """In the middle of each tenth."""
    return sorted({int((i + 0.5) * steps / LOOKS) for i in range(LOOKS)})


def close(name: str, got: Any, wanted: Any, scale: Any) -> None:
    """To rounding, `scale` being the size of what was summed up."""
    assert_array_equal(np.isnan(got), np.isnan(wanted))
    assert (abs(np.nan_to_num(got - wanted)) <= tolerance(name) * np.nan_to_num(scale)).all(), (got, wanted)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("place", [0, 1, 17])
def test_every_step_is_that_of_a_plain_loop(name: str, place: int) -> None:
    run, path, found = trained(name), path_of(name, place), cut(measured(name), place)
    w, end, g = path.params[:-1], path.params[-1], path.gradient
    d, s = w - end, -np.diff(path.params, axis=0)
    assert found.seeds == run.seeds[place] and found.steps == len(g)
    length = {key: np.linalg.norm(x, axis=1) for key, x in (("g", g), ("d", d), ("s", s))}
    close(name, found.loss, path.loss, abs(path.loss) + 0.05)
    close(name, found.dot, dots(g, d), length["g"] * length["d"] + 1e-3)
    close(name, found.distance2, dots(d, d), length["d"] ** 2 + 1e-30)
    close(name, found.gradient2, dots(g, g), length["g"] ** 2 + 1e-3)
    close(name, found.step_dot, dots(s, d), length["s"] * length["d"] + 1e-9)
    close(name, found.step2, dots(s, s), length["s"] ** 2 + 1e-9)


@pytest.mark.parametrize("name", ["sgd", pytest.param("stream", marks=FULL)])
def test_other_points_to_measure_from(name: str) -> None:
    """Where the other seed of a pair ended, also if it is not among those asked for; a random point, as far away."""
    run, found = trained(name), measured(name)
    partners = jaxor.simulate(run.experiment, np.unique(SEEDS ^ 1), lane_width=16, x64=run.x64)
    ends = dict(zip(partners.seeds.tolist(), partners.final_params, strict=True))
    for place in (0, 2, 4):
        path, one = path_of(name, place), cut(found, place)
        seed, w, g = int(SEEDS[place]), path.params[:-1], path.gradient
        with jax.enable_x64(run.x64):
            key = stream(run_key(0, jnp.uint32(seed)), CONTROL)
            direction = np.asarray(jax.random.normal(key, (w.shape[1],)), float)
        away = direction / np.linalg.norm(direction) * np.linalg.norm(path.params[-1] - w[0])
        for kind, target in (("other", ends[seed ^ 1].astype(float)), ("random", w[0] + away)):
            d = w - target
            scale = np.linalg.norm(d, axis=1)
            close(name, getattr(one, f"{kind}_distance2"), dots(d, d), scale**2)
            close(name, getattr(one, f"{kind}_dot"), dots(g, d), scale * (np.linalg.norm(g, axis=1) + 1e-2))
    first = np.array([cut(found, place).random_distance2[0] for place in range(len(SEEDS))])
    assert_allclose(first, [cut(found, place).distance2[0] for place in range(len(SEEDS))], tolerance(name))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("place", [0, 17])
def test_looks_are_those_of_a_plain_loop(name: str, place: int) -> None:
    path, found = path_of(name, place), cut(measured(name), place)
    w, end, g = path.params, path.params[-1], path.gradient
    looks = looks_of(len(g))
    assert_array_equal(found.look_step[0], looks)
    d = w - end
    for i, t in enumerate(looks):
        away = np.linalg.norm(d[t])
        few = np.full((BATCHES, w.shape[1]), np.nan)
        few[: len(path.batch_gradient[t])] = path.batch_gradient[t]
        close(name, found.full_loss[0, i], path.full[t], abs(path.full[t]) + 0.05)
        for kind, gradient in (("full", path.full_gradient[t]), ("labels", path.labels_gradient[t]), ("batch", few)):
            length = np.linalg.norm(gradient, axis=-1)
            close(name, getattr(found, f"{kind}_dot")[0, i], gradient @ d[t], (length + 1e-3) * away)
            close(name, getattr(found, f"{kind}_gradient2")[0, i], dots(gradient, gradient), length**2 + 1e-3)
        for j, lag in enumerate(LAGS):
            cosine = distance = np.nan
            if t + lag < len(g):
                across = [x - y * (x @ y) / (y @ y) for x, y in ((g[t], d[t]), (g[t + lag], d[t + lag]))]
                distance = np.linalg.norm(w[t] - w[t + lag])
                sizes = [np.linalg.norm(part) for part in across]
                small = [size < 1e-3 * np.linalg.norm(x) for size, x in zip(sizes, (g[t], g[t + lag]), strict=True)]
                cosine = found.lag_cosine[0, i, j] if any(small) else across[0] @ across[1] / np.prod(sizes)
            assert_allclose(found.lag_distance[0, i, j], distance, tolerance(name), tolerance(name))
            assert_allclose(found.lag_cosine[0, i, j], cosine, 0, 1e3 * tolerance(name))


@pytest.mark.parametrize("name", ALL)
def test_losses_at_the_end_and_on_the_line_to_it(name: str) -> None:
    run, found, decay = trained(name), measured(name), CASES[name][0].optimizer.options.get("weight_decay", 0.0)
    ends = np.asarray(run.final_loss, float) + decay / 2 * (run.final_params**2).sum(1)
    assert_allclose(found.reference_loss, ends, 0, 20 * tolerance(name))
    assert_allclose(found.line_loss[:, -1], ends, 0, 20 * tolerance(name))
    starts = np.asarray(run.initial_loss, float) + decay / 2 * (run.initial_params**2).sum(1)
    if name != "pivot":  # whose outputs depend on where its pivot is, which is taken from the end
        assert_allclose(found.line_loss[:, 0], starts, 20 * tolerance(name))


def test_the_loss_of_abs1_on_the_line_is_a_parabola() -> None:
    run, found = trained("sgd"), measured("sgd")
    a = np.linspace(0, 1, FRACTIONS)[:, None]
    for place in range(len(SEEDS)):
        on_line = (1 - a) * run.initial_params[place] + a * run.final_params[place]
        goal = np.sign(run.final_params[place, 0]) * np.array([0.5, -0.5, 0])
        assert_allclose(found.line_loss[place], ((on_line - goal) ** 2).sum(1), 1e-9, 1e-14)


# Identities


@pytest.mark.parametrize("name", ALL)
def test_a_step_takes_distances_on(name: str) -> None:
    """I1, of every optimizer by its own steps."""
    found = measured(name)
    d2, dot, s2 = (found.padded(key) for key in ("distance2", "step_dot", "step2"))
    after, before = d2[:, 1:], (d2 - 2 * dot + s2)[:, :-1]
    there = ~np.isnan(after)
    scale = np.maximum(d2[:, 1:], d2[:, :-1])[there]
    assert (abs(after - before)[there] <= (1e-12 if CASES[name][1] else 1e-5) * scale).all()
    last = np.arange(len(SEEDS)), found.steps - 1
    assert (abs((d2 - 2 * dot + s2)[last]) <= 1e-6 * d2[last]).all()  # the end itself


def rates(name: str) -> Floats:
    if name == "sgd":
        return np.full(100, 0.1)
    t = np.arange(30)
    return 0.1 * np.where(t < 3, t / 3, (1 + np.cos(np.pi * (t - 3) / 27)) / 2)


@pytest.mark.parametrize("name", ["sgd", pytest.param("scheduled", marks=FULL)])
def test_what_the_end_forces(name: str) -> None:
    """I3: the sum of N1 is the first squared distance; N2 at the last step."""
    found = measured(name)
    for place in range(len(SEEDS)):
        one = cut(found, place)
        eta = rates(name)[: one.steps[0]]
        total = (2 * eta * one.dot - eta**2 * one.gradient2).sum()
        assert_allclose(total, one.distance2[0], 1e-9 if name == "sgd" else 1e-5)
        rsi, eb = one.dot[-1] / one.distance2[-1], np.sqrt(one.gradient2[-1] / one.distance2[-1])
        assert_allclose([rsi, eb], 1 / eta[-1], 1e-6 if name == "sgd" else 1e-2)


@FULL
def test_a_last_step_of_rate_0_has_no_direction() -> None:
    """I3: then w_{T-1} = w_T, and RSI is no number."""
    still = ABS1.replace(optimizer={**COSINE, "schedule": {**COSINE["schedule"], "steps": 29}}, stop={}, max_epochs=30)
    found = jaxor.measure_run(jaxor.simulate(still, 3))
    last = found.padded("distance2")[:, -1], found.padded("dot")[:, -1], found.padded("step2")[:, -1]
    assert not np.any(last)
    assert np.isnan(along(found).rsi[:, -1]).all() and np.isfinite(along(found).rsi[:, :-1]).all()


def test_abs1_in_closed_form() -> None:
    """I9 in float64: 2, 2, 1, .5 and .64 from the exact minimum, 2 / (1 - .8^(T - t)) from the end."""
    exact = jaxor.measure_run(trained("sgd"), reference="exact")
    assert_allclose(exact.dot / exact.distance2, 2, 1e-9)
    assert_allclose(exact.gradient2 / exact.distance2, 4, 1e-9)
    assert_allclose(exact.dot / np.sqrt(exact.gradient2 * exact.distance2), 1, 1e-12)
    assert_allclose(exact.dot / exact.gradient2, 0.5, 1e-9)
    d2 = exact.padded("distance2")
    assert_allclose((d2[:, 1:] / d2[:, :-1])[~np.isnan(d2[:, 1:])], 0.64, 1e-8)
    assert_allclose(exact.reference_loss, 0, atol=1e-30)
    found = measured("sgd")
    left = np.concatenate([np.arange(steps, 0, -1) for steps in found.steps])
    assert_allclose(found.dot / found.distance2, 2 / (1 - 0.8**left), 1e-7)
    assert_allclose(np.sqrt(found.gradient2 / found.distance2), 2 / (1 - 0.8**left), 1e-7)
    assert_array_equal(exact.gradient2, found.gradient2)


def test_batches_of_a_partition_average_to_the_whole() -> None:
    """I12: twenty points in five minibatches."""
    found = measured("adam")
    there = found.look_step >= 0
    dot, square = found.batch_dot[there][:, :5], found.batch_gradient2[there][:, :5]
    assert np.isnan(found.batch_dot[there][:, 5:]).all() and not np.isnan(dot).any()
    scale = np.sqrt(found.at_looks("distance2")[there])
    assert_allclose(dot.mean(1) / scale, found.full_dot[there] / scale, 1e-11, 1e-12)
    assert (square.mean(1) >= found.full_gradient2[there] * (1 - 1e-12)).all()


@FULL
def test_minibatches_of_abs1_in_expectation() -> None:
    """I10 to the exact minimum, at the first step of many seeds: RSI 2, EB^2 20/3 on average for two of four."""
    run = jaxor.simulate(CASES["momentum"][0], 1000, lane_width=16, traces="none")
    found = jaxor.measure_run(run, reference="exact", devices=1)
    dot, distance2, gradient2 = (found.padded(name)[:, 0] for name in ("dot", "distance2", "gradient2"))
    for values, mean in ((dot / distance2, 2), (gradient2 / distance2, 20 / 3)):
        assert abs(values.mean() - mean) < 4 * values.std() / np.sqrt(len(values)) < 0.2 * mean


# How runs are cut up


@pytest.mark.parametrize("at_once", [64, 599, 5000])
def test_losses_of_some_points_at_a_time(at_once: int) -> None:
    """1,797 digits: with 5 over, in three equal parts, and all together."""
    dynamics = Dynamics(jaxor.get_experiment("digits_mlp"))
    params = jnp.asarray(np.random.default_rng(0).standard_normal(dynamics.order.size) / 10, jnp.float32)
    state = dynamics.law.model.init(jax.random.key(0))[1]
    assert_allclose(Objective(dynamics, at_once).of_task(params, state), dynamics.evaluate(params, state)[0], rtol=1e-6)


def same_bits(one: Geometry, other: Geometry) -> None:
    for (name, array), (_, wanted) in zip(one.arrays(), other.arrays(), strict=True):
        np.testing.assert_array_equal(array, wanted, name)


@pytest.mark.parametrize("name", ALL)
def test_the_replay_ends_where_the_runs_did(name: str) -> None:
    """I7."""
    run, found = trained(name), measured(name)
    assert_array_equal(found.difference, 0)
    for attribute in ("seeds", "status", "steps"):
        assert_array_equal(getattr(found, attribute), getattr(run, attribute))


@pytest.mark.parametrize("name", ["sgd", "adam", *(pytest.param(name, marks=FULL) for name in ("momentum", "stream"))])
def test_neither_order_nor_company_of_seeds_matters(name: str) -> None:
    """I7 and I8: a seed alone, with others, in another place, in another order; runs that ended early or late."""
    run, found = trained(name), measured(name)
    for places in ([3], [17, 2, 9], range(len(SEEDS))[::-1]):
        some = np.array([*places])
        same_bits(jaxor.measure_run(run, SEEDS[some]), found.take(some))
    again = jaxor.simulate(run.experiment, SEEDS[[5, 1]], lane_width=16, traces="none", x64=run.x64)
    same_bits(jaxor.measure_run(again), found.take(np.array([5, 1])))


def test_early_and_late_ends() -> None:
    """I8: scalars end with the run."""
    found = measured("sgd")
    assert len(set(found.steps.tolist())) > 3 and (found.status == Status.CONVERGED).all()
    assert all(len(getattr(found, name)) == found.steps.sum() for name in STEPS)
    assert_array_equal(np.isnan(found.padded("dot")), np.arange(found.steps.max()) >= found.steps[:, None])


def test_stored_ends_are_not_needed() -> None:
    made, x64 = CASES["sgd"]
    run = jaxor.simulate(made, SEEDS, lane_width=16, traces="none", parameters="none", x64=x64)
    same_bits(jaxor.measure_run(run), measured("sgd"))


@pytest.mark.parametrize("reference", ["final", "exact"])
def test_replays_of_another_length(reference: str) -> None:
    """Runs that were made elsewhere and took a step more or less are measured as far as the replay goes."""
    run = trained("sgd")
    steps = run.steps.copy()
    steps[2] += 1
    steps[3] -= 1
    exact = nearest_minimum(run.final_params) if reference == "exact" else None
    found = compute._measurer(ABS1, 16, True).measure(
        SEEDS, Measuring(reference), ends=Ends(steps, run.status, run.final_params), exact=exact
    )
    assert_array_equal(np.flatnonzero(found.difference), [2, 3])
    assert np.isinf(found.difference[[2, 3]]).all()
    assert_array_equal(found.steps, run.steps)
    assert len(found.dot) == run.steps.sum() and (found.step2 > 0).all()
    if reference == "exact":
        assert_allclose(found.dot / found.distance2, 2, 1e-6)


# Special runs


@FULL
def test_given_first_parameters() -> None:
    run = trained("sgd")
    again = jaxor.simulate(
        run.experiment, SEEDS[:4], initial_params=run.initial_params[:4], lane_width=16, x64=True, traces="none"
    )
    found = jaxor.measure_run(again)
    wanted = measured("sgd").take(np.arange(4))
    for name, array in found.arrays():
        if not name.startswith("other"):
            assert_array_equal(array, getattr(wanted, name), name)
    other = jaxor.measure_run(again, [4])  # 5, its pair, is not among them, and cannot be drawn
    assert np.isnan(other.other_dot).all() and np.isfinite(other.random_dot).all()


@FULL
def test_digits_by_minibatches() -> None:
    """A lane width of a wide net, two epochs of plain gradient descent."""
    run = jaxor.simulate(jaxor.get_experiment("digits_mlp").replace(max_epochs=2), 16, lane_width=16)
    found = jaxor.measure_run(run)
    assert_array_equal(found.difference, 0)
    assert (found.steps == 56).all() and not np.isnan(found.batch_dot).any()
    total = (0.2 * found.padded("dot") - 0.01 * found.padded("gradient2")).sum(1)
    assert_allclose(total, found.padded("distance2")[:, 0], 1e-4)
    assert_allclose(found.padded("dot")[:, -1] / found.padded("distance2")[:, -1], 10, 1e-2)
    assert_allclose(found.reference_loss, run.final_loss, 1e-5)
    assert_allclose(found.line_loss[:, [0, -1]], np.array([run.initial_loss, run.final_loss]).T, 1e-5)
    assert (found.batch_gradient2.mean(2) > found.full_gradient2).all()  # I12 but for the five points left out


def test_lanes_that_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where parameters are not fetched either but for those wanted."""
    compute._measurer.cache_clear()
    monkeypatch.setattr(looks, "platform", lambda: "gpu")
    monkeypatch.setattr(looks, "GPU_NUMBERS", 30_000)  # a pass makes 7,825: three lanes at a time
    together = jaxor.measure_run(trained("adam"))
    compute._measurer.cache_clear()
    for name, array in measured("adam").arrays():
        assert_allclose(getattr(together, name), array, rtol=1e-9, atol=1e-12, err_msg=name)


def test_runs_that_diverge() -> None:
    """Measured up to the last step that was taken."""
    made = ABS1.replace(max_epochs=600, optimizer={"name": "sgd", "learning_rate": 3.0}, stop={})
    run = jaxor.simulate(made, SEEDS[:6], lane_width=16, traces="all")
    assert (run.status == Status.DIVERGED).any()
    found = jaxor.measure_run(run)
    assert_array_equal(found.difference, 0)
    assert_array_equal(found.steps, run.steps)
    for place in range(len(run.seeds)):
        path = points_passed(run, place).astype(float)
        d = path[:-1] - path[-1]
        one = cut(found, place)
        with np.errstate(over="ignore"):
            wanted = dots(d, d).astype(np.float32)
        assert_allclose(one.distance2[np.isfinite(wanted)], wanted[np.isfinite(wanted)], 1e-4)
    with pytest.raises(ValueError, match=r"cannot be continued by 5 steps: they diverge"):
        jaxor.measure_run(run, reference="extra", extra=5)


@FULL
def test_runs_without_a_first_step() -> None:
    """No acceptable draw was found, or there is no epoch."""
    some = jaxor.get_experiment("relu1_reinit").replace(max_epochs=5, **{"init.max_draws": 2})
    run = jaxor.simulate(some, 16, lane_width=16)
    unstarted = run.status == Status.UNSTARTED
    assert unstarted.any() and not unstarted.all()
    found = jaxor.measure_run(run)
    assert_array_equal(found.steps, run.steps)
    assert (found.look_step[unstarted] == -1).all()
    for name in ("reference_loss", "line_loss", "full_loss", "lag_cosine"):
        assert np.isnan(getattr(found, name)[unstarted]).all(), name
    assert_array_equal(found.difference[~unstarted], 0)
    none = jaxor.measure_run(jaxor.simulate(some.replace(max_epochs=0), 16, lane_width=16))
    assert len(none) == 16 and not none.steps.any() and none.padded("dot").shape == (16, 0)


# Other references


def test_some_steps_beyond_the_end() -> None:
    """Those of abs1 are known: each brings it nearer to the minimum by .8; a run's stop rule ends nothing there."""
    run = trained("sgd")
    found = jaxor.measure_run(run, reference="extra", extra=5)
    assert_array_equal(found.difference, 0)
    for place in range(len(SEEDS)):
        w = points_passed(run, place).astype(float)
        goal = np.sign(w[-1, 0]) * np.array([0.5, -0.5, 0])
        d = w[:-1] - (goal + 0.8**5 * (w[-1] - goal))
        assert_allclose(cut(found, place).distance2, dots(d, d), 1e-9)


@FULL
@FULL
def test_beyond_the_end_of_a_schedule() -> None:
    """A rate of 0 takes runs nowhere: the reference is their own end."""
    found = jaxor.measure_run(trained("scheduled"), reference="extra", extra=7)
    assert_allclose(found.distance2, measured("scheduled").distance2, 1e-5, 1e-12)


@pytest.mark.parametrize(("options", "message"), [
    ({"reference": "extra"}, "a number of steps above 0"), ({"extra": 3}, "goes with reference extra"),
    ({"reference": "extra", "extra": -1}, "whole number of steps, got -1"), ({"reference": "end"}, "got 'end'"),
    ({"seeds": []}, "must not be empty"), ({"reference": "exact"}, "no exact minimum is known for net"),
])  # fmt: skip
def test_impossible_wishes(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jaxor.measure_run(trained("adam"), **options)
