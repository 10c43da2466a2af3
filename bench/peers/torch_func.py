"""All runs at once with torch.func: one network called on stacked parameters, until the last run has ended."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from bench.peers import Outcome, Train
from bench.peers.cases import Case, case_of
from bench.peers.parallel import on_processes
from bench.peers.torch_nets import criterion, data, network, optimizer

NAME = "torch.func"

Params = dict[str, Tensor]


def trainer(name: str, cores: int) -> Train:
    given = case_of(name)
    warm_up = functools.partial(_train, given, np.zeros((2, given.size), np.float32), max_epochs=1)
    return on_processes(functools.partial(_train, given, max_epochs=given.max_epochs), cores, warm_up)


def _train(case: Case, initial: Any, max_epochs: int) -> Outcome:
    torch.set_num_threads(1)
    return _Ensemble(case, torch.from_numpy(np.array(initial))).train(max_epochs)


class _Ensemble:
    """Runs that step together; each one's result is put aside when it ends."""

    def __init__(self, case: Case, initial: Tensor) -> None:
        self.case = case
        self.model, self.criterion = network(case), criterion(case)
        self.inputs, self.targets = data(case)
        names = [name for name, _ in self.model.named_parameters()]
        self.params: Params = dict(zip(names, map(torch.clone, case.split(initial).values()), strict=True))
        self.final = {name: value.clone() for name, value in self.params.items()}
        self.optimizer = optimizer(case, self.params.values())
        self.epochs = torch.zeros(len(initial), dtype=torch.int32)
        self.gradient = vmap(grad_and_value(self.loss), in_dims=(0, None if case.batch is None else 0))

    def loss(self, params: Params, points: Any) -> Tensor:
        outputs = functional_call(self.model, params, (self.inputs[points],))
        return self.criterion(outputs, self.targets[points])

    def train(self, max_epochs: int) -> Outcome:
        case, runs = self.case, len(self.epochs)
        going = torch.ones(runs, dtype=torch.bool)
        best, stale = torch.full((runs,), torch.inf), torch.zeros(runs, dtype=torch.int32)
        for epoch in range(1, max_epochs + 1):
            loss = self.epoch()
            stale = torch.where(best - loss > case.min_improvement, 0, stale + 1)
            best = torch.minimum(best, loss)
            ended = loss < case.stop_loss
            if case.patience is not None:
                ended |= stale > case.patience
            if epoch == max_epochs:
                ended[:] = True
            self.put_aside(going & ended, epoch)
            going &= ~ended
            if not going.any():
                break
        flat = torch.cat([value.reshape(runs, -1) for value in self.final.values()], dim=1)
        return Outcome.of(self.epochs, flat, vmap(self.loss, in_dims=(0, None))(self.final, slice(None)))

    def epoch(self) -> Tensor:
        loss = torch.empty(0)
        for points in self.batches():
            gradient, loss = self.gradient(self.params, points)
            for name, param in self.params.items():
                param.grad = gradient[name]
            self.optimizer.step()
        return loss

    def batches(self) -> Any:
        """Points of each step; each run has its own permutation of them."""
        if self.case.batch is None:
            return [slice(None)]
        points, size = len(self.inputs), self.case.batch
        order = torch.rand(len(self.epochs), points).argsort(dim=1)
        return order[:, : points // size * size].split(size, dim=1)

    def put_aside(self, ended: Tensor, epoch: int) -> None:
        if ended.any():
            self.epochs[ended] = epoch
            for name, param in self.params.items():
                self.final[name][ended] = param[ended]
