"""Batched NumPy, gradients by hand: runs lie on the last axis, in blocks that fit a cache; ended ones are dropped."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers import Outcome, Train
from bench.peers.cases import Case, xor_case
from bench.peers.parallel import on_processes

NAME = "NumPy"

Floats = NDArray[Any]

CORNERS = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
BLOCK = 4096


def trainer(name: str, cores: int) -> Train | None:
    given = xor_case(name)
    if given is None:
        return None
    train = functools.partial(_train_blocks, given)
    return on_processes(train, cores, functools.partial(train, np.zeros((0, given.size), np.float32)))


def _train_blocks(case: Case, initial: Any) -> Outcome:
    parts = [_Block(case, initial[start : start + BLOCK]).train() for start in range(0, max(len(initial), 1), BLOCK)]
    return Outcome(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


class _Block:
    """Runs that step together. Arrays of one column a run that goes on, or has ended since the last clearing."""

    def __init__(self, case: Case, initial: Floats) -> None:
        runs = len(initial)
        self.case = case
        self.params = np.ascontiguousarray(initial.T)
        self.moments = np.zeros((2, *self.params.shape), np.float32)
        self.best, self.stale = np.full(runs, np.inf, np.float32), np.zeros(runs, np.int32)
        self.place, self.going = np.arange(runs), np.ones(runs, bool)
        self.final, self.epochs = np.empty_like(self.params), np.zeros(runs, np.int32)

    def train(self) -> Outcome:
        case = self.case
        for epoch in range(1, case.max_epochs + 1):
            loss, gradient = _differentiate(case, self.params)
            self._move(gradient, epoch)
            ended = self._judge(loss) if epoch < case.max_epochs else np.ones_like(self.going)
            self._put_aside(self.going & ended, epoch)
            if not self.going.any():
                break
        return Outcome(self.epochs, np.ascontiguousarray(self.final.T), _differentiate(case, self.final)[0])

    def _move(self, gradient: Floats, epoch: int) -> None:
        case = self.case
        if not case.adam:
            self.params -= case.learning_rate * gradient
            return
        first, second = self.moments
        first += (1 - case.b1) * (gradient - first)
        second *= case.b2
        second += (1 - case.b2) * gradient * gradient
        spread = np.sqrt(second)
        spread /= (1 - case.b2**epoch) ** 0.5
        spread += case.eps
        self.params -= case.learning_rate / (1 - case.b1**epoch) * first / spread

    def _judge(self, loss: Floats) -> NDArray[np.bool_]:
        ended = loss < np.float32(self.case.stop_loss)
        if self.case.patience is not None:
            self.stale = np.where(self.best - loss > self.case.min_improvement, 0, self.stale + 1)
            self.best = np.minimum(self.best, loss)
            ended |= self.stale > self.case.patience
        return ended

    def _put_aside(self, ended: NDArray[np.bool_], epoch: int) -> None:
        """Results of runs that have just ended; columns are cleared away when a quarter of them is of no use."""
        if not ended.any():
            return
        self.final[:, self.place[ended]] = self.params[:, ended]
        self.epochs[self.place[ended]] = epoch
        self.going = going = self.going & ~ended
        if np.count_nonzero(going) < 0.75 * len(going):
            self.params, self.moments = self.params[:, going], self.moments[:, :, going]
            self.best, self.stale, self.place = self.best[going], self.stale[going], self.place[going]
            self.going = going[going]


def _pairs(terms: Floats) -> Floats:
    """Sum over the corners, (..., 4, runs), in jaxor's order."""
    return (terms[..., 0, :] + terms[..., 1, :]) + (terms[..., 2, :] + terms[..., 3, :])


def _differentiate(case: Case, params: Floats) -> tuple[Floats, Floats]:
    """Loss (runs,) and gradient (P, runs)."""
    m, o, runs = case.units, case.outputs, params.shape[1]
    count = 4 * max(o, 1)
    w, b, rest = params[: 2 * m].reshape(m, 2, 1, runs), params[2 * m : 3 * m, None], params[3 * m :]
    x, y = CORNERS[:, 0, None], CORNERS[:, 1, None]
    z = w[:, 0] * x + w[:, 1] * y + b
    hidden, slope = _activate(case, z, rest[-1:])
    v, c = rest[: o * m].reshape(o, m, 1, runs), rest[o * m : o * m + o, None]
    if o:
        targets = np.array([[1, 0, 0, 1], [0, 1, 1, 0]], np.float32)[..., None]
        residual = np.stack([np.add.reduce(v[i] * hidden, axis=0) for i in range(o)]) + c - targets
    else:
        residual = np.add.reduce(hidden, axis=0)[None] - np.array([0, 1, 1, 0], np.float32)[:, None]
    loss = np.add.reduce(_pairs(residual * residual), axis=0) / count
    back = residual * np.float32(2 / count)
    d = sum(v[i] * back[i] for i in range(o)) if o else back
    dz = d * slope
    parts = [np.stack([_pairs(dz * x), _pairs(dz * y)], axis=1).reshape(2 * m, runs), _pairs(dz)]
    if o:
        parts += [_pairs(back[i] * hidden) for i in range(o)] + [_pairs(back)]
    if case.activation == "prelu":
        parts.append(_pairs(np.add.reduce(d * np.minimum(z, 0), axis=0))[None])
    return loss, np.concatenate(parts)


def _activate(case: Case, z: Floats, learned: Floats) -> tuple[Floats, Floats]:
    """Hidden units and their derivatives."""
    if case.activation == "abs":
        return np.abs(z), np.sign(z)
    if case.activation == "relu":
        return np.maximum(z, 0), (z > 0).astype(np.float32)
    positive = z > 0
    return np.where(positive, z, learned * z), np.where(positive, np.float32(1), learned)
