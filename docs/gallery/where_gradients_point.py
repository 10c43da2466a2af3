"""
Where gradients point
=====================

Do gradients point to where training ends? Along the paths of a small net on handwritten
digits they do, at nearly every step. Most of that would also be so on a random walk.
What a landscape adds is seen only beside it.
"""

import matplotlib.pyplot as plt
import numpy as np

import jaxor
from jaxor.analysis.geometry import along
from jaxor.analysis.over_seeds import figure as figure_of
from jaxor.analysis.over_seeds import mean, median
from jaxor.analysis.walks import chance, closed_form
from jaxor.report.drawing import BLUE, GREY, STYLE, VERMILION

plt.rcParams.update(STYLE)
experiment, seeds = "digits_mlp", 16

# %%
# Train first, measure afterwards
# -------------------------------
#
# The runs are trained without keeping anything of the way. Measuring replays them from
# their seeds, bit for bit, and takes the gradient of each step beside the way that is
# left to the end. *Gamma* is the cosine of the two: 1 if a step against the gradient
# leads straight to the end, 0 if it comes no nearer.

run = jaxor.simulate(experiment, seeds=seeds, traces="none")
measured = jaxor.measure_run(run)
paths, null = along(measured), along(closed_form(measured))
print(run)
print("replays equal to the runs, bit for bit:", bool((measured.difference == 0).all()))

# %%
# Beside a random walk
# --------------------
#
# The dashed line is a random walk in as many dimensions, with steps as long as those of
# the run: without any landscape. Each step of such a walk is part of the way that is
# left, so its cosine is above 0, too, and rises to 1 at the end.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")
steps = np.arange(paths.gamma.shape[1])
rate = run.experiment.optimizer.options["learning_rate"]
for axes, ours, walk in (
    (left, paths.gamma, null.gamma),
    (right, paths.local_rate / rate, null.local_rate / rate),
):
    low, middle, high = np.nanquantile(ours, (0.05, 0.5, 0.95), axis=0)
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, lw=0)
    axes.plot(
        steps, middle, color=BLUE, lw=0.8, label=f"median and 5 to 95 % of {seeds} seeds"
    )
    axes.plot(
        steps, np.nanmedian(walk, axis=0), color=VERMILION, ls="--", label="random walk"
    )
    axes.set_xlabel("step")
left.axhline(0, color=GREY, lw=0.8)
left.set(title="Gamma, cosine of gradient and way to the end", ylim=(-0.1, 1.02))
left.legend(loc="upper center")
right.set(title="Best rate for each step / rate in use", ylim=(-10, 200))
right.set_yscale("symlog", linthresh=1)
plt.show()

# %%
# In the middle of training gamma is below .1, and still twice what the walk has. The
# rate that one step would have needed to come as near to the end as its direction
# allows is more than ten times the rate in use at first, and falls below it in the end.
# On the walk it is the rate in use at all times.
#
# How sure that is
# ----------------
#
# *Share* is how many of the steps have gamma above 0, *ratio* how many times gamma is
# that of the walk. Runs are independent, the steps of one run are not. So each seed gives
# one number, and seeds are resampled for the interval. The last 5 % of each run are left
# out: there the end is near because it is the end.

until = int(0.95 * len(steps))
gamma, walk = paths.gamma[:, :until], null.gamma[:, :until]
by_chance = chance(closed_form(measured), len(run.param_names))[:, :until]
share = figure_of("share", mean, (gamma > 0).mean(axis=1), 0.95, ">=", {})
ratio = figure_of("ratio", median, np.median(gamma / walk, axis=1), 1.0, ">", {})
for one in (share, ratio):
    low, high = one.interval
    print(f"{one.name}: {one.value:.3f}, {low:.3f} to {high:.3f}, by {one.seeds} seeds")
print(f"share on the walk: {by_chance.mean():.3f}")

# %%
# So "almost every gradient points to where training ends" is true and says little,
# since 97 % would without any landscape. That gamma is twice as large as on the walk is
# the finding. :doc:`/geometry` has this for five architectures, other optimizers and
# batches, and says where it fails.
