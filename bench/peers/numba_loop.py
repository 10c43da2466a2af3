"""A loop over runs compiled by Numba: each run trains to its end in scalars, threads share the runs."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange

from bench.peers import Outcome, Train
from bench.peers.cases import Case, xor_case

NAME = "Numba"

# All of fastmath but "reassoc": sums keep jaxor's order, without which 1.5 % of the runs of relu1 end elsewhere.
FAST = {"nnan", "ninf", "nsz", "arcp", "contract", "afn"}

X, Y = np.array([-1, 1, -1, 1], np.float32), np.array([-1, -1, 1, 1], np.float32)
LARGEST = np.float32(np.finfo(np.float32).max)


def trainer(name: str, cores: int) -> Train | None:
    """Compiles for the experiment's numbers, which are constants to the compiler."""
    given = xor_case(name)
    if given is None:
        return None
    loop = _compile(given)

    def train(initial: Any) -> Outcome:
        numba.set_num_threads(min(cores, numba.config.NUMBA_NUM_THREADS))  # pyright: ignore
        params = np.array(initial, np.float32)
        epochs, loss = np.zeros(len(params), np.int32), np.zeros(len(params), np.float32)
        loop(params, epochs, loss)
        return Outcome(epochs, params, loss)

    train(np.zeros((cores, given.size), np.float32))
    return train


def _compile(case: Case) -> Any:
    """A function that trains the rows of `params` in place."""
    evaluate, move = _compile_gradient(case), _compile_optimizer(case)
    size, max_epochs, stop_loss = case.size, case.max_epochs, np.float32(case.stop_loss)
    patience = max_epochs if case.patience is None else case.patience
    min_improvement = np.float32(case.min_improvement)
    rows = 2 * case.units + max(case.outputs, 1)

    @njit(fastmath=FAST)
    def train(params: Any, gradient: Any, moments: Any, work: Any) -> Any:
        best, stale = LARGEST, 0
        moments[:] = 0
        for epoch in range(1, max_epochs + 1):
            loss = evaluate(params, gradient, work)
            move(params, gradient, moments, epoch)
            stale = 0 if best - loss > min_improvement else stale + 1
            best = min(best, loss)
            if loss < stop_loss or stale > patience:
                return epoch
        return max_epochs

    @njit(parallel=True, fastmath=FAST)
    def loop(params: Any, epochs: Any, loss: Any) -> None:
        for run in prange(len(params)):
            gradient, moments = np.empty(size, np.float32), np.empty((2, size), np.float32)
            work = np.empty((rows, 4), np.float32)
            epochs[run] = train(params[run], gradient, moments, work)
            loss[run] = evaluate(params[run], gradient, work)

    return loop


def _compile_optimizer(case: Case) -> Any:
    rate, b1, b2, eps = (np.float32(value) for value in (case.learning_rate, case.b1, case.b2, case.eps))
    a1, a2 = np.float32(1 - case.b1), np.float32(1 - case.b2)
    steps = np.arange(case.max_epochs + 1)
    step_size = (case.learning_rate / np.maximum(1 - case.b1**steps, 1e-9)).astype(np.float32)
    spread_size = (1 / np.sqrt(np.maximum(1 - case.b2**steps, 1e-9))).astype(np.float32)
    size = case.size

    @njit(fastmath=FAST)
    def descend(params: Any, gradient: Any, moments: Any, epoch: Any) -> None:
        for j in range(size):
            params[j] -= rate * gradient[j]

    @njit(fastmath=FAST)
    def adam(params: Any, gradient: Any, moments: Any, epoch: Any) -> None:
        for j in range(size):
            g = gradient[j]
            first = moments[0, j] + a1 * (g - moments[0, j])
            second = b2 * moments[1, j] + a2 * g * g
            moments[0, j], moments[1, j] = first, second
            params[j] -= step_size[epoch] * first / (np.sqrt(second) * spread_size[epoch] + eps)

    return adam if case.adam else descend


def _compile_gradient(case: Case) -> Any:
    """A function that writes the gradient and gives the loss; `work` holds what lies between, a column a corner."""
    forward, backward = _compile_forward(case), _compile_backward(case)
    m = case.units

    @njit(fastmath=FAST)
    def evaluate(params: Any, gradient: Any, work: Any) -> Any:
        z, hidden, residual = work[:m], work[m : 2 * m], work[2 * m :]
        loss = forward(params, z, hidden, residual)
        backward(params, gradient, z, hidden, residual)
        return loss

    return evaluate


def _compile_forward(case: Case) -> Any:
    m, outputs, last = case.units, case.outputs, case.size - 1
    absolute, learned = case.activation == "abs", case.activation == "prelu"
    rows = max(outputs, 1)
    targets = np.array([[1, 0, 0, 1], [0, 1, 1, 0]] if outputs else [[0, 1, 1, 0]], np.float32)
    zero, mean = np.float32(0), np.float32(1 / (4 * rows))

    @njit(fastmath=FAST)
    def forward(params: Any, z: Any, hidden: Any, residual: Any) -> Any:
        below = params[last] if learned else zero
        for k in range(m):
            for i in range(4):
                value = params[2 * k] * X[i] + params[2 * k + 1] * Y[i] + params[2 * m + k]
                z[k, i] = value
                hidden[k, i] = abs(value) if absolute else value if value > zero else below * value
        loss = zero
        for o in range(rows):
            for i in range(4):
                value = zero
                for k in range(m):
                    value += params[3 * m + o * m + k] * hidden[k, i] if outputs else hidden[k, i]
                if outputs:
                    value += params[3 * m + outputs * m + o]
                residual[o, i] = value - targets[o, i]
            r = residual[o]
            loss += (r[0] * r[0] + r[1] * r[1]) + (r[2] * r[2] + r[3] * r[3])
        return loss * mean

    return forward


def _compile_backward(case: Case) -> Any:
    m, outputs, last = case.units, case.outputs, case.size - 1
    absolute, learned = case.activation == "abs", case.activation == "prelu"
    rows = max(outputs, 1)
    zero, scale = np.float32(0), np.float32(2 / (4 * rows))

    @njit(fastmath=FAST)
    def backward(params: Any, gradient: Any, z: Any, hidden: Any, residual: Any) -> None:
        """Overwrites residuals and pre-activations with the loss's derivatives by them."""
        below = params[last] if learned else zero
        for o in range(rows):
            r = residual[o]
            for i in range(4):
                r[i] *= scale
            if outputs:
                gradient[3 * m + outputs * m + o] = (r[0] + r[1]) + (r[2] + r[3])
                for k in range(m):
                    h = hidden[k]
                    gradient[3 * m + o * m + k] = (r[0] * h[0] + r[1] * h[1]) + (r[2] * h[2] + r[3] * h[3])
        slope = zero
        for k in range(m):
            d = z[k]
            for i in range(4):
                back = zero
                for o in range(rows):
                    back += params[3 * m + o * m + k] * residual[o, i] if outputs else residual[o, i]
                slope += back * min(d[i], zero)
                if absolute:
                    d[i] = back * np.sign(d[i])
                else:
                    d[i] = back if d[i] > zero else below * back
            gradient[2 * k] = (d[1] - d[0]) + (d[3] - d[2])
            gradient[2 * k + 1] = (d[2] + d[3]) - (d[0] + d[1])
            gradient[2 * m + k] = (d[0] + d[1]) + (d[2] + d[3])
        if learned:
            gradient[last] = slope

    return backward
