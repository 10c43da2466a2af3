"""Seeds a second of wide two-layer ReLU nets: jaxor beside a PyTorch loop, and beside the matrix products alone.

The nets are those of Wang & Ma (NeurIPS 2022): 200 hidden units on MNIST's first 1,000 images, where JAXOR_IMAGES says
they are, and Corollary 4.3's 1,295 units on 20 points in 50 dimensions. The PyTorch loop trains one seed after another;
it has all threads and one, and the better counts. jaxor is called as users call it, once to compile and then again.
Where the inputs can be had in fewer columns without changing the law of the losses, both are measured with and without.

The floor is the time of a step's matrix products by themselves, one after the other, each core on its own.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.calls import Place, environment, process
from bench.options import devices, parser
from bench.report import machine, ratios, spread, text, write
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError

TURNS = 5
TURN_SECONDS = 3
"""About so long everyone trains at a time."""

PAIRS = ("reduced", "plain"), ("plain", "plain"), ("reduced", "reduced")
"""Whose inputs are compared: jaxor's, and the loop's."""


@dataclass(frozen=True)
class Case:
    """An experiment as it is and with fewer columns of inputs.

    `bar` is how many times as fast as the PyTorch loop jaxor is to be.
    """

    name: str
    plain: Experiment
    reduced: Experiment
    bar: float

    @property
    def inputs(self) -> dict[str, Experiment]:
        """Both experiments."""
        return {"plain": self.plain, "reduced": self.reduced}


def cases() -> list[Case]:
    """The nets; without MNIST's images only those that need none, and the reason is printed."""
    made = [_theory()]
    try:
        made.insert(0, _mnist())
    except ExperimentError as error:
        print(f"MNIST: not measured, {error}")
    return made


def _mnist() -> Case:
    from jaxor.analysis.table1 import image_experiment

    plain, reduced = (
        image_experiment("mnist", width=200, rate=0.01, steps=34, reduce=reduce) for reduce in ("none", "columns")
    )
    return Case("MNIST, width 200", plain, reduced, 1.2)


def _theory() -> Case:
    from jaxor.analysis.separated_nets import SeparatedNets

    plain = SeparatedNets().descent(44)
    rotated = plain.replace(**{"task.rotated": True, "model.inputs": 10, "init.dimension": 50})
    return Case("n = 20, d = 50, width 1,295", plain, rotated, 3.0)


# Who trains: a function of a number of seeds that gives the losses after the last step, one a seed


Train = Callable[[int], Any]


def ours(experiment: Experiment) -> Train:
    """jaxor as users call it."""
    import jaxor

    return lambda seeds: jaxor.simulate(experiment, seeds, traces="none", parameters="none").final_loss


def torch_loop(experiment: Experiment, threads: int) -> Train:
    """A module, an optimizer and a loop over steps for each seed, as the authors' notebook has it."""
    import torch
    from torch import Tensor, nn

    task = experiment.build().task
    inputs, targets = (torch.from_numpy(np.asarray(array, np.float32)) for array in (task.inputs, task.targets))
    options, init = experiment.model.options, experiment.init.options
    hidden, d, classes = options["hidden"], options["inputs"], options["classes"]
    kappa, images = init["kappa"], experiment.loss.name == "logistic"

    def network() -> nn.Sequential:
        first, second = nn.Linear(d, hidden, bias=images), nn.Linear(hidden, max(classes, 1), bias=False)
        with torch.no_grad():
            first.weight.normal_(0, kappa if images else kappa / math.sqrt(hidden * (init["dimension"] or d)))
            signs = 2.0 * torch.randint(0, 2, second.weight.shape) - 1
            second.weight.copy_(signs if images else signs / math.sqrt(hidden))
            if images:
                first.bias.fill_(kappa)
        return nn.Sequential(first, nn.ReLU(), second)

    def loss_of(outputs: Tensor) -> Tensor:
        if images:
            return nn.functional.softplus(-(outputs * targets).sum(1)).mean()
        return ((outputs.squeeze(1) - targets) ** 2).mean() / 2

    def one() -> float:
        net, loss = network(), torch.zeros(())
        optimizer = torch.optim.SGD(net.parameters(), lr=experiment.optimizer.options["learning_rate"])
        for _ in range(experiment.max_epochs):
            optimizer.zero_grad()
            loss = loss_of(net(inputs))
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return loss_of(net(inputs)).item()

    def train(seeds: int) -> list[float]:
        torch.set_num_threads(threads)
        return [one() for _ in range(seeds)]

    return train


# The floor


def products(experiment: Experiment) -> list[tuple[int, int, int]]:
    """Shapes (a, b, c) of a step's products (a, b) @ (b, c); gradients of inputs are not needed."""
    inputs, options = experiment.build().task.inputs, experiment.model.options
    (n, d), m, c = inputs.shape, options["hidden"], max(options["classes"], 1)
    return [(n, d, m), (n, m, c), (n, c, m), (m, n, d), (m, n, c)]


def numpy_products(shapes: list[tuple[int, int, int]]) -> Callable[[], Any]:
    """A step's products in NumPy."""
    made = [_factors(shape) for shape in shapes]
    results = [np.empty((len(a), b.shape[1]), np.float32) for a, b in made]
    return lambda: [np.matmul(*pair, out=out) for pair, out in zip(made, results, strict=True)]


def jax_products(shapes: list[tuple[int, int, int]]) -> Callable[[], Any]:
    """The same in JAX, compiled."""
    import jax

    made = [_factors(shape) for shape in shapes]
    compiled = jax.jit(lambda pairs: [a @ b for a, b in pairs]).lower(made).compile()
    placed = jax.device_put(made)
    return lambda: jax.block_until_ready(compiled(placed))


def _factors(shape: tuple[int, int, int]) -> tuple[Any, Any]:
    rng, (a, b, c) = np.random.default_rng(0), shape
    return rng.standard_normal((a, b), np.float32), rng.standard_normal((b, c), np.float32)


def floor(shapes: list[tuple[int, int, int]]) -> dict[str, Any]:
    """Milliseconds of the products one after the other, the least of some, and how many operations a second that is."""
    from threadpoolctl import threadpool_limits

    operations = 2 * sum(math.prod(shape) for shape in shapes)
    found: dict[str, Any] = {"mflop": operations / 1e6}
    for name, make in (("NumPy", numpy_products), ("JAX", jax_products)):
        with threadpool_limits(1):  # BLAS has counted the cores already
            seconds = _least(make(shapes))
        found[name] = {"ms": seconds * 1e3, "gflop_per_s": operations / seconds / 1e9}
    return found


def _least(function: Callable[[], Any]) -> float:
    """Seconds of a call, the least of many within a second or so."""
    function()
    ended, least = time.perf_counter() + 1, math.inf
    while (started := time.perf_counter()) < ended:
        function()
        least = min(least, time.perf_counter() - started)
    return least


# Measurements


@dataclass
class Racer:
    """Someone who trains: on which inputs, how many seeds at a time, how fast and how far.

    `first` is what the first call took, with all that is started and compiled in it.
    """

    who: str
    inputs: str
    train: Train
    seeds: int
    first: float = math.nan
    speeds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def turn(self) -> float:
        """Seconds for all seeds."""
        started = time.perf_counter()
        self.losses += [float(loss) for loss in self.train(self.seeds)]
        return time.perf_counter() - started

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        seen = self.losses[: self.seeds] if self.who == "jaxor" else self.losses  # jaxor's seeds are the same each time
        return {
            "who": self.who, "inputs": self.inputs, "seeds": self.seeds, "first_s": self.first,
            "seeds_per_s": spread(self.speeds), "samples": self.speeds,
            "final_loss": statistics.mean(seen), "sd": statistics.stdev(seen), "losses": len(seen),
        }  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    options = parser("bench.nets", __doc__).parse_args()
    devices(options, cpu_only="this bench compares programs for CPUs")
    os.environ.update(environment("cpu"))  # before anything imports JAX
    rows = []
    for case in cases():
        rows.append(measured(case, 3 if options.quick else TURNS))
        _print(rows[-1])
        write("nets", {"machine": machine(), "quick": options.quick, "rows": rows})


def measured(case: Case, turns: int) -> dict[str, Any]:
    """Everyone trains, turn by turn; how many times as fast jaxor is, and the floor of either inputs."""
    racers = [*_racers(case.plain, "plain"), *_racers(case.reduced, "reduced")]
    for racer in racers:
        racer.first = racer.turn()
        racer.seeds *= max(round(TURN_SECONDS / racer.turn()), 1)
        racer.losses.clear()
    for _ in range(turns):
        for racer in racers:
            racer.speeds.append(racer.seeds / racer.turn())
    ours = {racer.inputs: racer.speeds for racer in racers if racer.who == "jaxor"}
    loop = {
        inputs: max((r.speeds for r in racers if r.inputs == inputs and r.who != "jaxor"), key=statistics.median)
        for inputs in ours
    }
    with process(Place("cpu", 1)) as one:
        floors = {name: one.submit(floor, products(experiment)).result() for name, experiment in case.inputs.items()}
    return {
        "case": case.name, "bar": case.bar, "steps": case.plain.max_epochs,
        "columns": {name: experiment.model.options["inputs"] for name, experiment in case.inputs.items()},
        "racers": [racer.to_dict() for racer in racers],
        "jaxor_to_loop": {f"{a}/{b}": ratios(ours[a], loop[b]) for a, b in PAIRS},
        "floor": floors,
    }  # fmt: skip


def _racers(experiment: Experiment, inputs: str) -> list[Racer]:
    from jaxor.engine.plan import plan
    from jaxor.work import SMALL_JOB

    counts = sorted({1, len(os.sched_getaffinity(0))})
    loops = [Racer(f"PyTorch, threads: {count}", inputs, torch_loop(experiment, count), 2) for count in counts]
    seeds = SMALL_JOB * plan(experiment, traces="none").block_seeds  # as many as are done on all cores
    return [*loops, Racer("jaxor", inputs, ours(experiment), seeds)]


def _print(row: dict[str, Any]) -> None:
    columns, cores = row["columns"], len(os.sched_getaffinity(0))
    print(f"\n{row['case']}, {row['steps']} steps, {columns['plain']} inputs, reduced to {columns['reduced']}")
    print(f"  {'':<22}{'inputs':<9}{'seeds/s':>24}{'seeds':>7}{'first s':>9}{'final loss':>20}")
    for racer in row["racers"]:
        print(
            f"  {racer['who']:<22}{racer['inputs']:<9}{text(racer['seeds_per_s']):>24}{racer['seeds']:>7}"
            f"{racer['first_s']:>9.2f}{racer['final_loss']:>11.4f} +- {racer['sd']:.4f}"
        )
    for inputs, found in row["floor"].items():
        for name in ("NumPy", "JAX"):
            ms, rate = found[name]["ms"], found[name]["gflop_per_s"]
            speed = cores * 1e3 / (ms * row["steps"])
            what = f"{ms:.3g} ms a step at {rate:.0f} Gflop/s a core"
            print(f"  {'products, ' + name:<22}{inputs:<9}{speed:>10,.1f}, {what}")
    for pair, values in row["jaxor_to_loop"].items():
        print(f"  jaxor / PyTorch, {pair} inputs: {text(values)}; wanted: {row['bar']}", flush=True)


if __name__ == "__main__":
    main()
