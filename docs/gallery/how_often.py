"""
How often, and how long
=======================

A net of two ReLU units learns XOR: six parameters, Adam, a catalogue experiment that
was once run with 50 seeds. How often does that succeed, and how many epochs does it
take? With 10,000 seeds both have an answer, and an interval.
"""

import matplotlib.pyplot as plt
import numpy as np

import jaxor
from jaxor.analysis.censoring import cumulative_incidence, kaplan_meier
from jaxor.estimates import Share, wilson
from jaxor.report.drawing import BLUE, GREY, STYLE, VERMILION

plt.rcParams.update(STYLE)
seeds = 10_000

run = jaxor.simulate("relu1_normal", seeds=seeds)
success = run.final_accuracy == 1
share = Share.of(int(success.sum()), len(run))
print(run)
print(f"success: {share.share:.1%}, Wilson 95 %: {share.low:.1%} to {share.high:.1%}")

# %%
# Two kinds of runs
# -----------------
#
# On the left 150 runs that end with all four points right, and 150 that do not. Failed
# runs get no nearer than a loss of 1/4, which is one point of the four wholly wrong.
# Adam swings, so losses rise again on the way; a run *stalls* when more than ten epochs
# in a row bring no improvement.
#
# On the right all runs, in twenty groups of equal size by their loss before the first
# step. The lower a run starts, the more often it succeeds: what is decided at the start
# is shown in :doc:`what_goes_wrong`.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")

for kind, colour, name in (
    (~success, VERMILION, "failed"),
    (success, BLUE, "successful"),
):
    for seed in run.seeds[kind][:150]:
        left.semilogy(run.trace(seed).loss, color=colour, lw=0.5, alpha=0.35)
    left.plot([], color=colour, label=f"{kind.sum():,} {name}, 150 drawn")
for loss, name in ((0.25, "1/4"), (1e-7, "converged below $10^{-7}$")):
    left.axhline(loss, color=GREY, lw=0.8, ls="--")
    left.text(328, loss / 1.4, name, color=GREY, ha="right", va="top")
left.set(
    title="Loss of single runs",
    xlabel="epoch",
    ylabel="loss before the step",
    xlim=(0, 330),
)
left.set_ylim(1e-10, 10)
left.legend(loc="lower left")

groups = np.array_split(np.argsort(run.initial_loss), 20)
middle = [np.median(run.initial_loss[group]) for group in groups]
shares = np.array([success[group].mean() for group in groups])
ends = np.array([wilson(int(success[group].sum()), len(group)) for group in groups])
right.errorbar(middle, shares, abs(ends.T - shares), fmt="o", ms=4, color=BLUE, capsize=2)
right.axhline(share.share, color=GREY, lw=0.8, ls="--")
right.text(
    2.2, share.share + 0.015, f"all runs: {share.share:.1%}", color=GREY, ha="right"
)
right.set(
    title=f"Success of {seeds:,} runs, Wilson 95 %",
    xlabel="loss before training",
    xlim=(0.09, 2.3),
    ylim=(0, 1.03),
)
right.set(
    xscale="log",
    xticks=[0.1, 0.2, 0.5, 1, 2],
    ylabel="share of runs with all points right",
)
right.xaxis.set_major_formatter("{x:g}")
right.xaxis.set_minor_formatter("")
plt.show()

# %%
# How long
# --------
#
# "Epochs to converge" is a question about runs that may never do so. The share of *all*
# runs that have converged answers it without presuming anything. The estimate of Kaplan
# and Meier presumes that a run that stalled would have gone on like those still in
# training: for a run at a plateau of 1/4 that is wrong, and the median of all runs that
# it gives is one of a world in which everything converges in the end.

again = jaxor.simulate(
    jaxor.get_experiment("relu1_normal").replace(**{"stop.patience": None}), seeds=seeds
)
patient = cumulative_incidence(run.epochs, run.status)
without = cumulative_incidence(again.epochs, again.status)
presumed = kaplan_meier(run.epochs, run.status == jaxor.Status.CONVERGED)

figure, axes = plt.subplots(figsize=(7.3, 3.9), layout="constrained")
for curve, colour, name in (
    (without, BLUE, "share of all runs, without patience"),
    (patient, VERMILION, "with patience"),
):
    axes.step(curve.times, curve.share, where="post", color=colour, label=name)
    axes.fill_between(
        curve.times, curve.low, curve.high, step="post", color=colour, alpha=0.25, lw=0
    )
axes.step(
    presumed.times,
    1 - presumed.survival,
    where="post",
    color=GREY,
    ls=":",
    label="Kaplan-Meier, with patience",
)
axes.set(
    title=f"Converged: loss below 1e-7, {seeds:,} seeds, bands 95 %",
    xlabel="epochs",
    ylabel="share",
    xlim=(0, 450),
)
axes.set_ylim(0, 1)
axes.legend(loc="upper left")
plt.show()

# %%
# The patience of the original costs successes that were on their way:

early = np.count_nonzero((run.status == jaxor.Status.STALLED) & success)
print(f"{early:,} of {success.sum():,} successes were stalled, not converged")
for name, one in (("with patience", run), ("without", again)):
    epochs = one.epochs[one.status == jaxor.Status.CONVERGED]
    converged = Share.of(len(epochs), seeds)
    print(f"{name}: {(one.final_accuracy == 1).mean():.1%} succeed")
    print(
        f"  {converged.share:.1%} ({converged.low:.1%} to {converged.high:.1%}) converge,"
    )
    print(f"  in {np.median(epochs):.0f} epochs, the median of those")
