"""What a shell may complete, in functions for click.

Names are written down here, and a test holds them to what they name: whoever presses Tab does not wait for JAX.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

EXPERIMENTS = (
    "abs1_convergence", "abs1_kaiming", "abs1_kaiming_adam_high_gain", "abs1_kaiming_mse", "abs1_large",
    "abs1_mse_pivot", "abs1_mse_pivot_control", "abs1_normal", "abs1_tiny", "abs1_xavier", "abs2_single_bce",
    "abs2_single_bce_confidence", "abs2_single_bce_eater", "abs2_single_bce_l2reg", "abs2_single_bce_norm",
    "abs2_single_mse", "abs2_single_mse_confidence", "abs2_single_mse_eater", "abs2_single_mse_l2reg",
    "abs2_single_mse_norm", "characters_transformer", "digits_conv", "digits_mlp", "mnist_mlp", "quadratic_bowl",
    "relu1_anneal", "relu1_bhs", "relu1_biased", "relu1_convergence", "relu1_elu", "relu1_init_dist", "relu1_kaiming",
    "relu1_leaky_-1e-1", "relu1_leaky_-1e-2", "relu1_leaky_-8e-1", "relu1_leaky_1e-1", "relu1_leaky_1e-2",
    "relu1_leaky_8e-1", "relu1_mirror", "relu1_monitor", "relu1_mse_pivot", "relu1_mse_pivot_control", "relu1_normal",
    "relu1_prelu", "relu1_reinit", "relu1_reinit_0th", "relu1_reinit_25th", "relu1_reinit_50th",
    "relu1_reinit_50th_bad", "relu1_reinit_margin", "relu2_convergence", "relu2_eight_mse_norm", "relu2_four_mse_norm",
    "relu2_init_dist", "relu2_one_mse_norm", "relu2_reinit_0th", "relu2_three_mse_norm", "relu2_two_bce",
    "relu2_two_bce_eater", "relu2_two_bce_l2reg", "relu2_two_mse", "relu2_two_mse_eater", "relu2_two_mse_l2reg",
    "relu2_two_mse_sgd", "rosenbrock_valley", "saddle_point", "shapes_plain", "shapes_skip",
)  # fmt: skip
"""The catalogue."""

DOCUMENTS = (
    "convergence", "sampling", "sampling-one-layer", "sampling-two-layers", "paths", "paths-classification",
    "paths-segmentation", "paths-language", "paths-factors", "early-stage", "early-stage-mnist", "early-stage-cifar10",
    "early-stage-theory",
)  # fmt: skip
"""That are measured again, each before its tables; the document on convergence has one, of the same name."""


def experiments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the catalogue; where none begins so, files."""
    return _starting(incomplete, EXPERIMENTS) or [CompletionItem(incomplete, type="file")]


def directories(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Directories."""
    return [CompletionItem(incomplete, type="dir")]


def experiments_or_directories(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the catalogue; where none begins so, directories."""
    return (incomplete and _starting(incomplete, EXPERIMENTS)) or directories(ctx, param, incomplete)


def studies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Studies of optimisation paths that come with jaxor; where none begins so, files."""
    from importlib.resources import files

    names = sorted(file.name.removesuffix(".toml") for file in files("jaxor").joinpath("studies").iterdir())
    return _starting(incomplete, names) or [CompletionItem(incomplete, type="file")]


def documents(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Documents and tables that can be measured again."""
    return _starting(incomplete, DOCUMENTS)


def _starting(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
