"""``python -m bench.peers.agree [experiment ...]``: do the peers train as jaxor does?

Each trains the same runs. Equal epochs fall a little short of all where rounding decides, above all in long runs under
Adam and in those that end by patience; such runs end nearby, and as often well.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np

import jaxor
from bench.peers import MODULES, Outcome, load
from bench.peers.cases import NAMES

SUCCESS = 1e-2
"""Runs with a lower final loss have learned XOR; in a local minimum it is above .1."""

SEEDS = {"digits_mlp": 8}
DEFAULT_SEEDS = 2_000
LOOP_SEEDS = 100
"""At most so many runs of the PyTorch loop, which takes a fifth of a millisecond for a step."""


class Agreement(NamedTuple):
    """Shares of runs with equal epochs, and with equal success; mean final loss of jaxor and of the peer."""

    epochs: float
    success: float
    losses: tuple[float, float]


def compare(run: Any, outcome: Outcome) -> Agreement:
    """A peer's outcome against the first runs of jaxor."""
    runs = len(outcome.epochs)
    ours, theirs = run.final_loss[:runs], outcome.loss
    return Agreement(
        epochs=float(np.mean(run.epochs[:runs] == outcome.epochs)),
        success=float(np.mean((ours < SUCCESS) == (theirs < SUCCESS))),
        losses=(float(np.mean(ours)), float(np.mean(theirs))),
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.agree", description=__doc__)
    parser.add_argument("experiments", nargs="*", default=NAMES, help="all, if none is named")
    parser.add_argument("--seeds", type=int, help="runs of each experiment")
    options = parser.parse_args()
    print("experiment            peer            runs    epochs   success   mean loss, jaxor      peer")
    for name in options.experiments:
        seeds = options.seeds or SEEDS.get(name, DEFAULT_SEEDS)
        run = jaxor.simulate(name, seeds=seeds, traces=False)
        for module in MODULES:
            print(f"{name:<22}{_row(name, module, run)}", flush=True)


def _row(name: str, module: str, run: Any) -> str:
    peer = load(module)
    if peer is None:
        return f"{module:<14} not installed"
    train = peer.trainer(name, 1)
    if train is None:
        return f"{peer.NAME:<14} {getattr(peer, 'WHY', None) or 'does not cover it'}"
    runs = min(len(run), LOOP_SEEDS) if module == "torch_loop" else len(run)
    found = compare(run, train(run.initial_params[:runs]))
    ours, theirs = found.losses
    return f"{peer.NAME:<14}{runs:>6}{found.epochs:>10.2%}{found.success:>10.2%}{ours:>19.3g}{theirs:>10.3g}"


if __name__ == "__main__":
    main()
