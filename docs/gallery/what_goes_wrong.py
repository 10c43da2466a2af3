"""
What goes wrong
===============

More than half of the runs of :doc:`how_often` fail. Why? Each ReLU unit has a line in
the plane of the four points, on one side of which it is active. Where no unit is active
the output is 0 whatever the weights are, and no gradient says so. Such a point is
*dead*.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection

import jaxor
from jaxor.analysis.diagnostics import dead_points, hidden_layer, mirror_pairs
from jaxor.analysis.plateaus import plateaus
from jaxor.estimates import Share
from jaxor.report.drawing import BLACK, BLUE, STYLE, VERMILION

plt.rcParams.update(STYLE)
seeds = 10_000

run = jaxor.simulate("relu1_normal", seeds=seeds, traces="none")
success = run.final_accuracy == 1
task = run.experiment.build().task
points, positive = np.asarray(task.inputs), np.asarray(task.targets) == 1
before = hidden_layer(run.initial_params, run.param_names)
after = hidden_layer(run.final_params, run.param_names)

# %%
# What both kinds have learned
# ----------------------------
#
# Above, the lines of 100 runs of either kind; filled points are those with target 1.
# Below, the output, as its mean over all runs. XOR stays the same when it is turned by
# half a turn, so failed runs are drawn such that their wrong point is on the lower
# right.
#
# Runs that succeed have both lines along the diagonal of the empty points, and their
# outputs rise to either side of it. Runs that fail do the same on one side, and nothing
# at all on the other.

output = np.maximum(
    np.einsum("nud,pd->npu", after.weight, points) + after.bias[:, None], 0
).sum(axis=2)
errors = (output - positive) ** 2
turn = np.where(success | (errors.argmax(axis=1) == 1), 1, -1)
weight, bias = after.weight * turn[:, None, None], after.bias

side = np.linspace(-1.6, 1.6, 41)
plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
figure, panels = plt.subplots(
    2, 2, figsize=(7.3, 6.9), sharex=True, sharey=True, layout="constrained"
)
kinds = (("successful", success, BLUE), ("failed", ~success, VERMILION))
for column, (name, kind, colour) in zip(panels.T, kinds, strict=True):
    w, b = weight[kind][:100].reshape(-1, 2, 1), bias[kind][:100].reshape(-1, 1, 1)
    foot, direction = -w * b / (w**2).sum(axis=1, keepdims=True), w[:, ::-1] * [[-1], [1]]
    lines = foot + direction * np.array([-50, 50])
    column[0].add_collection(
        LineCollection(list(lines.swapaxes(1, 2)), colors=colour, lw=0.7, alpha=0.35)
    )
    column[0].set_title(f"{name}: lines of 100 runs")
    total = sum(
        np.maximum(weight[kind, unit] @ plane.T + bias[kind, unit, None], 0)
        for unit in (0, 1)
    )
    image = column[1].contourf(
        side,
        side,
        total.mean(axis=0).reshape(41, 41),
        np.linspace(0, 1.5, 16),
        cmap="Greys",
        extend="max",
    )
    column[1].set(title=f"{name}: mean output of {kind.sum():,} runs", xlabel="$x_1$")
    for axes in column:
        axes.scatter(
            *points.T,
            s=60,
            c=np.where(positive, BLACK, "white"),
            edgecolors=BLACK,
            zorder=3,
        )
        axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
        axes.grid(visible=False)
for axes in panels[:, 0]:
    axes.set_ylabel("$x_2$")
figure.colorbar(image, ax=panels[1], ticks=[0, 0.5, 1, 1.5], label="output", shrink=0.8)
plt.show()

# %%
# Decided before the first step
# -----------------------------
#
# Whether a point with target 1 is dead can be seen before training. It nearly settles
# the matter:

dead = dead_points(before, points)[:, positive].any(axis=1)
share = Share.of(int(dead.sum()), seeds)
print(f"dead before training: {share.share:.1%}, {share.low:.1%} to {share.high:.1%}")
for name, some in (("with a dead point", dead), ("without", ~dead)):
    share = Share.of(int(success[some].sum()), int(some.sum()))
    print(f"{name}: {share.count:,} of {some.sum():,} succeed,", end=" ")
    print(f"{share.low:.2%} to {share.high:.2%}")

# %%
# That this happens to half of all runs follows from symmetry (each of the two points is
# dead with probability 1/4, both never at once), so the interval should hold .5. What
# is left, the few per cent that fail without a dead point, is Adam's doing: with plain
# gradient descent they nearly vanish (:doc:`/sampling`).
#
# Where failed runs end
# ---------------------
#
# Nearly all end at one and the same plateau: three points right, one at 0. An error of
# 1 for one of four points is a loss of 1/4.

ends = run.final_loss, errors, run.final_accuracy
for one in plateaus(*(values[~success] for values in ends)):
    print(f"{one.runs:,} runs end at {one.loss:.4f}, squared errors {one.errors}")

# %%
# What a solution looks like
# --------------------------
#
# A solution is ``|w x|``, which two ReLU units make as a mirror pair: opposite weights,
# a cosine of -1. It appears in training: at the start angles between the two units are
# spread evenly, so cosines crowd at both ends.

figure, panels = plt.subplots(1, 2, figsize=(7.3, 3.3), sharey=True, layout="constrained")
edges = np.linspace(-1, 1, 41)
for axes, layer, when in zip(panels, (before, after), ("before", "after"), strict=True):
    unit = layer.weight / np.linalg.norm(layer.weight, axis=2, keepdims=True)
    cosine = (unit[:, 0] * unit[:, 1]).sum(axis=1)
    parts = [cosine[success], cosine[~success]]
    axes.hist(
        parts,
        edges,
        stacked=True,
        color=[BLUE, VERMILION],
        label=["successful", "failed"],
    )
    axes.set(
        title=f"{when} training, {seeds:,} runs",
        xlabel="cosine of the weights of the two units",
    )
panels[0].set_ylabel("runs")
panels[0].legend(loc="upper center")
plt.show()

pairs = mirror_pairs(after.weight[success])
share = Share.of(int(pairs.found.sum()), int(success.sum()))
print(f"cosine below -.95: {share.share:.1%} of the successful runs", end=" ")
print(f"({share.low:.1%} to {share.high:.1%})")
