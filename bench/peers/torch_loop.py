"""One run after the other: a PyTorch module, an optimizer and a loop over epochs, a process for each core."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bench.peers import Outcome, Train
from bench.peers.cases import Case, case_of
from bench.peers.parallel import on_processes
from bench.peers.torch_nets import criterion, data, network, optimizer

NAME = "PyTorch loop"


def trainer(name: str, cores: int) -> Train:
    given = case_of(name)
    warm_up = functools.partial(_train_all, given, np.zeros((1, given.size), np.float32), max_epochs=1)
    return on_processes(functools.partial(_train_all, given, max_epochs=given.max_epochs), cores, warm_up)


def _train_all(case: Case, initial: Any, max_epochs: int) -> Outcome:
    torch.set_num_threads(1)
    runs = [_train(case, start, max_epochs) for start in torch.from_numpy(np.array(initial))]
    return Outcome.of(*(np.array(values) for values in zip(*runs, strict=True)))


def _train(case: Case, start: Tensor, max_epochs: int) -> tuple[int, Any, float]:
    model, loss_of = network(case), criterion(case)
    vector_to_parameters(start, model.parameters())
    inputs, targets = data(case)
    epochs = _fit(model, loss_of, optimizer(case, model.parameters()), case, max_epochs)
    with torch.no_grad():
        final = loss_of(model(inputs), targets).item()
    return epochs, parameters_to_vector(model.parameters()).detach().numpy(), final


def _fit(model: nn.Module, loss_of: nn.Module, optimizer: torch.optim.Optimizer, case: Case, max_epochs: int) -> int:
    inputs, targets = data(case)
    current, best, stale = float("inf"), float("inf"), 0
    for epoch in range(1, max_epochs + 1):
        for points in _batches(case):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[points]), targets[points])
            loss.backward()
            optimizer.step()
            current = loss.item()
        stale = 0 if best - current > case.min_improvement else stale + 1
        best = min(best, current)
        if current < case.stop_loss or (case.patience is not None and stale > case.patience):
            return epoch
    return max_epochs


def _batches(case: Case) -> Iterable[Any]:
    if case.batch is None:
        return [slice(None)]
    points = len(case.inputs)
    return torch.randperm(points)[: points // case.batch * case.batch].split(case.batch)
