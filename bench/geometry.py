"""The geometry of paths: what measuring costs, the null, the specification's table on digits, forecasts, all studies.

`python -m bench.geometry null cost thousand forecasts` takes about ten minutes; `studies` hours on two
cores, an hour at most for each of the big ones, and goes on where it was; its run directories stay in
``outputs/``, so that `table` finds those of the study of digits. `gpu` is `cost` by lane width, on a GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bench.calls import peak_memory
from bench.options import parser
from bench.report import RESULTS, machine, ratios, text, write
from bench.report import gpu as graphics
from jaxor import get_experiment, simulate
from jaxor.analysis.fit import Settings, fit_run
from jaxor.analysis.path_study import list_studies
from jaxor.analysis.walks import random_walk
from jaxor.compute import _measurer
from jaxor.engine.geometry import Measuring
from jaxor.engine.measure import Ends
from jaxor.engine.plan import plan
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Worker, precision
from jaxor.report.tables import columns

WALKS = ((3466, 1680, 0.975), (20_000, 500, 1.0), (500, 2000, 0.790))
"""Parameters, steps, and share of positive steps that the specification found in one walk."""

COSTS = {"digits_mlp": 16, "digits_conv": 4, "relu1_normal": 2048, "relu2_two_mse_sgd": 2048}
"""Experiments, and seeds that are trained and measured on one core."""

GPU_WIDTHS = {
    "digits_mlp": (256, 1024),
    "digits_conv": (64,),
    "shapes_skip": (64,),
    "characters_transformer": (32,),
}
"""Lane widths on a GPU, all filled."""

FORECASTS = ("abs1_convergence", "relu1_normal", "relu2_two_mse_sgd", "quadratic_bowl")
LAWS = {
    "log_distance": "log law",
    "log_shifted": "shifted log law",
    "rate_forecast": "RSI/EB rate",
    "loss_slope": "loss slope",
}


class Printed(NamedTuple):
    """A row of the specification's table: shares of gamma above 0 (all, first 95 %, worst seed), medians of gamma and
    of the locally optimal rate beside the one in use in tenths 1, 6 and 10, and the range of RSI."""

    arm: str
    positive: tuple[float, float, float] | tuple[float, float]
    gamma: tuple[float, float, float]
    rate: tuple[float, float, float] | None
    rsi: float


TABLE = (
    Printed("SGD B16", (0.956, 0.968, 0.953), (0.137, 0.047, 0.089), (11, 1.3, 0.6), 1.8),
    Printed("SGD B64", (0.988, 0.994, 0.989), (0.298, 0.075, 0.151), (19, 2.0, 0.6), 2.2),
    Printed("SGD B256", (0.997, 1.000, 0.998), (0.405, 0.121, 0.215), (17, 3.0, 0.6), 2.2),
    Printed("SGD full", (1, 1), (0.764, 0.975, 0.983), (129, 484, 3.4), 1.8),
    Printed("momentum B64", (0.987, 0.995, 0.981), (0.326, 0.070, 0.137), None, 2.1),
    Printed("Adam B64", (0.990, 0.997, 0.986), (0.282, 0.059, 0.093), None, 1.7),
    Printed("SGD B64 warm-up + cosine", (0.975, 0.979, 0.972), (0.365, 0.100, 0.278), None, 19),
)
"""Of 16 seeds, whose input scaling is not recorded."""


def null() -> dict[str, Any]:
    """Share of steps with a positive cosine on random walks to their own ends."""
    rows, found = [("parameters", "steps", "share", "standard error", "theory", "specification")], []
    for parameters, steps, printed in WALKS:
        walk = random_walk(parameters, steps, 64, 0)
        shares = (walk.padded("dot") > 0).mean(axis=1)
        theory = float(ndtr(np.sqrt(parameters / (steps - np.arange(steps)))).mean())
        error = float(shares.std(ddof=1) / np.sqrt(len(shares)))
        found.append(
            {
                "parameters": parameters,
                "steps": steps,
                "share": float(shares.mean()),
                "error": error,
                "theory": theory,
                "printed": printed,
            }
        )
        rows.append(
            (f"{parameters:,}", f"{steps:,}", f"{shares.mean():.4f}", f"{error:.4f}", f"{theory:.4f}", f"{printed:g}")
        )
    print(columns(rows, ">>>>>>"))
    return {"walks": found}


def cost() -> dict[str, Any]:
    """Seconds of measuring beside those of training, on this processor at the default lane width."""
    return {"cases": _costs([(name, plan(get_experiment(name)).lane_width, seeds) for name, seeds in COSTS.items()], 5)}


def gpu() -> dict[str, Any]:
    """The same on a GPU by lane width; all lanes are filled."""
    if graphics() is None:
        raise SystemExit("gpu: not measured, none here")
    return {"cases": _costs([(name, width, width) for name, widths in GPU_WIDTHS.items() for width in widths], 3)}


def _costs(cases: list[tuple[str, int, int]], turns: int) -> list[dict[str, Any]]:
    """Seconds of training, replay and measuring of (experiment, lane width, seeds), everything compiled.

    Measuring holds the replay, of which a part alone is how fast parameters of all steps can be handed out.
    """
    rows: list[tuple[str, ...]] = [
        ("experiment", "lanes", "seeds", "training s", "measuring s", "replay alone / training", "measuring / training")
    ]
    found = []
    for name, width, seeds in cases:
        times = _times(name, width, np.arange(seeds), turns)
        replay, ratio = (ratios(times[part], times["training_s"]) for part in ("replay_s", "measuring_s"))
        found.append(
            {"experiment": name, "lane_width": width, "seeds": seeds, **times, "replay": replay, "ratio": ratio}
        )
        medians = (f"{np.median(times[part]):.3g}" for part in ("training_s", "measuring_s"))
        rows.append((name, f"{width:,}", f"{seeds:,}", *medians, text(replay), text(ratio)))
    print(columns(rows, "<>>>>>>"))
    return found


def _times(name: str, width: int, ids: NDArray[np.int64], turns: int) -> dict[str, list[float]]:
    measurer = _measurer(get_experiment(name), width, False)
    worker = measurer.worker
    block = worker.run(ids, Recording("none"))
    assert block.final_params is not None
    ends = Ends(block.steps, block.status, block.final_params)
    parts: dict[str, Callable[[], Any]] = {
        "training_s": lambda: worker.run(ids, Recording("none")),
        "replay_s": lambda: _replay(worker, ids),
        "measuring_s": lambda: measurer.measure(ids, Measuring(), ends=ends),
    }
    for part in parts.values():  # and compile
        part()
    taken = [[_seconds(part) for part in parts.values()] for _ in range(turns)]
    return dict(zip(parts, map(list, zip(*taken, strict=True)), strict=True))


def _replay(worker: Worker, seeds: NDArray[np.int64]) -> None:
    """Hand out the parameters of every step, and nothing else."""
    with precision(worker.x64):
        for start in range(0, len(seeds), worker.lane_width):
            for _, rows in worker.follow(seeds[start : start + worker.lane_width], careful=False):
                jax.block_until_ready(rows)


def _seconds(part: Callable[[], Any]) -> float:
    started = time.perf_counter()
    part()
    return time.perf_counter() - started


def thousand() -> dict[str, Any]:
    """`jaxor geometry digits_mlp --seeds 1000`: as it is, and interrupted and resumed; memory of all processes."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, peak = _geometry(Path(folder) / "whole", None)
        stopped, _ = _geometry(Path(folder) / "parts", seconds / 2)
        resumed, _ = _geometry(Path(folder) / "parts", None)
        whole, parts = (_digest(Path(folder) / name) for name in ("whole", "parts"))
        paths = json.loads((Path(folder) / "whole/derived/geometry/final/paths.json").read_text())
    print(
        f"1,000 seeds of digits_mlp, trained and measured: {seconds:.0f} s, at most {peak / 2**30:.2f} GiB in all "
        f"processes; largest difference of replays {paths['difference']:g}; interrupted after {stopped:.0f} s it took "
        f"{resumed:.0f} s more, files {'equal' if whole == parts else 'DIFFERENT'}"
    )
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "difference": paths["difference"],
        "stopped_s": stopped,
        "resumed_s": resumed,
        "equal_files": whole == parts,
    }


def _geometry(out: Path, stop: float | None) -> tuple[float, int]:
    """Seconds and peak memory of the command, interrupted after some seconds."""
    command = [sys.executable, "-m", "jaxor", "geometry", "digits_mlp", "--seeds", "1000", "--out", str(out), "--quiet"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running, peak_memory(running.pid) as samples:
        try:
            running.wait(stop)
        except subprocess.TimeoutExpired:
            running.terminate()
            running.wait()
    return time.perf_counter() - started, max(samples)


def _digest(run: Path) -> list[str]:
    """Names of the files with measurements, which hold the hash of what is in them."""
    return sorted(path.name for path in (run / "derived/geometry/final").glob("*.h5"))


def forecasts() -> dict[str, Any]:
    """Epochs to go on held-out seeds: the log law, the rate of RSI and EB, the slope of the loss."""
    rows: list[tuple[str, ...]] = [("experiment", "runs", *LAWS.values())]
    found = {}
    for name in FORECASTS:
        fit = fit_run(simulate(name, seeds=1000, traces="all"), Settings(faces=("law",), which="successful"))
        scores = {law: fit.model(law).held_out for law in LAWS}
        found[name] = {law: score and score.to_dict() for law, score in scores.items()}
        cells = ("-" if score is None else f"{score.mae:.3g} (R2 {score.r2:.3f})" for score in scores.values())
        rows.append((name, f"{len(np.unique(fit.rows.seed)):,}", *cells))
    print(f"Mean absolute error in epochs, and R2, on seeds that nothing was learned from\n{columns(rows, '<>>>>>')}")
    return found


def studies() -> dict[str, Any]:
    """All studies, each by its command."""
    found = {}
    for name in list_studies():
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "jaxor", "geometry", "--study", name], check=False)
        if done.returncode:
            print(f"{name} failed")
            continue
        seconds = time.perf_counter() - started
        found[name] = {"seconds": seconds} | json.loads((_folder(name) / "study.json").read_text())
    return found


def _folder(study: str) -> Path:
    return Path("outputs") / f"geometry-{study}"


def table() -> dict[str, Any]:
    """The specification's table of digits beside the study's arms."""
    study = json.loads((_folder("digits") / "study.json").read_text())
    rows: list[tuple[str, ...]] = [
        ("run", "gamma > 0", "worst", "gamma 1", "6", "10", "rate/used 1", "6", "10", "RSI max/min")
    ]
    found = []
    for row in TABLE:
        ours = study["arms"][row.arm]["tenths"]
        positive = [ours["positive"][name] for name in ("all", "early", "worst")]
        gamma, rate = ([ours["columns"][name][tenth] for tenth in (0, 5, 9)] for name in ("gamma", "relative_rate"))
        found.append(
            {
                "arm": row.arm,
                "positive": positive,
                "gamma": gamma,
                "rate": rate,
                "rsi": ours["ranges"]["rsi"],
                "printed": row._asdict(),
            }
        )
        worst = _pair(positive[2], row.positive[2]) if len(row.positive) > 2 else f"{positive[2]:.3f}"
        shares = "/".join(f"{x:.3f}" for x in positive[:2]) + " (" + "/".join(f"{x:g}" for x in row.positive[:2]) + ")"
        rates = [_pair(*pair) for pair in zip(rate, row.rate, strict=True)] if row.rate else ["-"] * 3
        rows.append(
            (
                row.arm,
                shares,
                worst,
                *(_pair(*pair) for pair in zip(gamma, row.gamma, strict=True)),
                *rates,
                _pair(ours["ranges"]["rsi"], row.rsi),
            )
        )
    print(f"ours, in brackets the specification's of 16 seeds; * more than 15 % apart\n{columns(rows, '<' + '>' * 9)}")
    return {"arms": found}


def _pair(ours: float, printed: float) -> str:
    return f"{ours:.3g} ({printed:g}){'*' * (abs(ours / printed - 1) > 0.15)}"


PARTS = {part.__name__: part for part in (null, cost, thousand, forecasts, studies, table, gpu)}


def main() -> None:
    """Measure the parts asked for, or all but `gpu`; parts measured before stay in the JSON, with their machine."""
    made = parser("bench.geometry", __doc__)
    made.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all but gpu, if none is named")
    options = made.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        made.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    kept = RESULTS / "geometry.json"
    content = json.loads(kept.read_text()) if kept.exists() else {}
    for name in options.parts or [name for name in PARTS if name != "gpu"]:
        print(f"\n{name}")
        content[name] = {"machine": machine(), **PARTS[name]()}
        print(f"written to {write('geometry', content)}")


if __name__ == "__main__":
    main()
