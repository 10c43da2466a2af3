"""What both PyTorch peers share: network, loss and optimizer of a case."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bench.peers.cases import Case


class Abs(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.abs()


class Sum(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.sum(-1)


ACTIVATIONS = {"abs": Abs, "relu": nn.ReLU, "prelu": nn.PReLU}


def network(case: Case) -> nn.Module:
    """Its parameters come in jaxor's flat order, under jaxor's names where they are one of a kind."""
    net = nn.Sequential()
    for i, layer in enumerate(case.layers):
        outputs, inputs = case.shapes[f"{layer}.weight"]
        if i:
            net.add_module(f"activation{i}", ACTIVATIONS[case.activation]())
        net.add_module(layer, nn.Linear(inputs, outputs))
    if case.summed:
        net.add_module("activation", ACTIVATIONS[case.activation]())
        net.add_module("sum", Sum())
    return net


def criterion(case: Case) -> nn.Module:
    return nn.CrossEntropyLoss() if case.loss == "cross_entropy" else nn.MSELoss()


def optimizer(case: Case, params: Iterable[Tensor]) -> torch.optim.Optimizer:
    if case.adam:
        return torch.optim.Adam(params, lr=case.learning_rate, betas=(case.b1, case.b2), eps=case.eps)
    return torch.optim.SGD(params, lr=case.learning_rate)


def data(case: Case) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(case.inputs.copy()), torch.from_numpy(case.targets.copy())
