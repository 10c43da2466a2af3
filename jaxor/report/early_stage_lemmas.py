"""What was seen of lemmas, rates and the first step of two-layer ReLU nets, as text for the terminal.

Of Wang & Ma (NeurIPS 2022), sections 5 and 6. Tags say how certain a reading is, see `jaxor.analysis.assumptions`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxor.analysis.first_step import FirstStep
from jaxor.analysis.lemmas import CURVATURE_SLACK, STATEMENTS, Lemmas, Violations
from jaxor.analysis.rates import CONSTANT_STEPS, FITTED_FROM, STEPS, Contraction, Curvature, Decay, Rates
from jaxor.analysis.separated_nets import RATE, SeparatedNets
from jaxor.analysis.statements import Bound
from jaxor.estimates import Share
from jaxor.report.statements import figure_text, notes_text, probability_text, tags_text, unmet_text
from jaxor.report.tables import columns, fields, percent, section, wrapped

NEAR = 0.05
"""Fitted slopes may be so far from -r."""

SETS = "TL", "TD", "FL", "FD"


def lemmas_text(study: Lemmas) -> str:
    """Lemmas 6.1 to 6.6 along the training of many seeds."""
    head = [*_nets(study.nets), ("training", f"gradient descent, quadratic loss, eta = {RATE:g}, float64, "
                                             f"{study.steps} steps of {len(study.hitting_times):,} seeds")]  # fmt: skip
    return "\n\n".join(
        [
            fields(head),
            section("Checks", _checks(study)),
            section("Neuron partition", _partition(study)),
            section("Breaks of S1 to S5 by the scale of the start", _sweep(study)),
            section("Hitting time, curvature, balance", fields(_along(study))),
            tags_text({"TXT", "OCR?", "DER"}),
        ]
    )


def _nets(nets: SeparatedNets) -> list[tuple[str, str]]:
    return [
        ("data", f"{nets.data}: n = {nets.points:,}, d = {nets.dimension:,}"),
        ("nets", f"m = {nets.width:,}, kappa = {nets.kappa:.4g}, delta = {nets.delta:g}"),
    ]


def _checks(study: Lemmas) -> str:
    seeds = len(study.hitting_times)
    rows = [("lemma", "", "seeds", "worst")]
    rows += [(one.name, one.statement, f"{one.holds.count:,} of {seeds:,}", f"{one.worst:.3g}") for one in study.checks]
    words = (
        "Seeds for which no step breaks it, and the worst over seeds and steps. S1 to S5, the identity of 6.4 and the "
        "mean of overlaps are the text's [TXT]; the constants of 6.1, 6.3 and 6.4 and the bound of 6.5 are derived "
        "anew [DER], since the text hides or lost them [OCR?]. The overlaps of 6.1 and the entries of 6.4 are promised "
        f"with probability {1 - study.nets.delta:g}; H of 6.6 is each seed's largest norm of the Hessian, "
        f"{100 * (CURVATURE_SLACK - 1):.0f} % added since power iteration comes from below."
    )
    return f"{columns(rows, '<<>>')}\n\n{wrapped(words)}"


def _partition(study: Lemmas) -> str:
    fractions = study.figures["fractions"]
    rows: list[tuple[str, ...]] = [("t", *SETS)]
    for t in dict.fromkeys((0, 1, study.steps - 1)):
        low, high = fractions[:, t].min(axis=0), fractions[:, t].max(axis=0)
        rows.append(
            (f"{t}", *(f"{a:.4f}" if a == b else f"{a:.4f} to {b:.4f}" for a, b in zip(low, high, strict=True)))
        )
    words = (
        "Shares of all pairs of point and neuron, smallest to largest over seeds: true-living, true-dead, "
        "false-living, false-dead. By Lemmas 6.1 and 6.2 about 1/4 each at t = 0, then 1/2, 0, 0, 1/2 [TXT]."
    )
    return f"{columns(rows, '>>>>>')}\n\n{wrapped(words)}"


def _sweep(study: Lemmas) -> str:
    rows = [("kappa", *STATEMENTS)]
    rows += [(f"{one.kappa:.4g}", *(_broken(one, name) for name in STATEMENTS)) for one in study.sweep]
    words = (
        "Pairs (i, k) that break a statement, summed over steps, mean over seeds; in brackets the seeds with any. "
        f"There are {study.nets.points * study.nets.width:,} pairs. S3 and S4 are of step 0, S5 of all others: a "
        "neuron that step 0 leaves on the wrong side may cross later. The first row is the checks' kappa."
    )
    return f"{columns(rows, '>' * 6)}\n\n{wrapped(words)}"


def _broken(one: Violations, name: str) -> str:
    mean, broken = float(one.counts[name].mean()), one.broken(name)
    if not broken.count:
        return "0"
    return f"{mean:,.{0 if mean >= 1000 else 1}f} ({percent(broken.count / one.seeds, one.seeds)})"


def _along(study: Lemmas) -> list[tuple[str, str]]:
    times, last = study.hitting_times, study.steps - 2
    span = f"{times.min()}" if times.min() == times.max() else f"{times.min()} to {times.max()}"
    shown = int(np.count_nonzero(times == last))
    beyond = f"; at least, for {shown:,} of {len(times):,} seeds that are fine up to the end" * bool(shown)
    norms, losses, balance = (study.figures[name] for name in ("hessian_norm", "loss", "balance"))
    t = np.arange(1, norms.shape[1])
    ratio = (norms[:, 1:] / (t * losses[:, 1:])).max(initial=0.0)
    drift = np.abs(balance - balance[:, :1]).max()
    return [
        ("T", f"{span}{beyond} (|f| <= 1 and no a_k changes its sign up to T + 1) [TXT]"),
        ("H", f"{norms.max():.4g}, largest norm of the Hessian of all, by power iteration from below"),
        ("C_hat", f"{ratio:.4g} = max |Hessian| / (t L) for t >= 1. Theorem 5.2 claims |Hessian| <= C t L(t) of its "
                  "own losses and schedule [TXT]; this is the quadratic loss"),
        ("balance", f"sum a_k^2 - sum |b_k|^2 drifts by {drift:.3g} at most, from {balance[:, 0].mean():.6g}; gradient "
                    "flow keeps it"),
    ]  # fmt: skip


def rates_text(study: Rates) -> str:
    """Theorems 5.3 and 5.2 beside many seeds."""
    contractions, decays = study.contractions, study.decays
    first = [*contractions[:1], *decays[:1]]
    return "\n\n".join(
        [
            fields([*_nets(study.nets), ("V", f"{study.v:.6g}, eq. (7) with the prefactor 1/8 [DER]")]),
            section("Theorem 5.3: the first layer alone, eta_t = c / L(t)", _contractions(contractions)),
            section(
                f"Theorem 5.2: all layers, T0 = {CONSTANT_STEPS}",
                f"{_decays(decays)}\n\n{_curvatures(study.curvatures)}",
            ),
            section("The schedule that the text seems to have", _literal(study.literal)),
            section("Premises", "\n".join(_premises([one.bound for one in first]))),
            tags_text({"TXT", "OCR?", "DER"}),
        ]
    )


def _premises(bounds: Sequence[Bound]) -> list[str]:
    lines = [
        wrapped(f"{bound.statement}: {unmet_text(bound.premises)}. Stated probability: {probability_text(bound)}.")
        for bound in bounds
    ]
    return [*lines, notes_text(note for bound in bounds for note in bound.notes)]


def _contractions(found: Sequence[Contraction]) -> str:
    rows = [("loss", "", "bound", "smallest", "largest", "seeds", "kept", "S1 to S5 broken")]
    for one in found:
        seeds = len(one.ratios)
        ends = (f"{one.ratios.min():.6f}", f"{one.ratios.max():.6f}")
        broken = f"{int(one.violations.sum()):,}"
        bound = figure_text(one.bound.bound, ".6f")
        rows.append((one.loss, "L(t+1) / L(t) <=", bound, *ends, f"{seeds:,}", _kept(one.kept, seeds), broken))
        ends = (f"{one.gradient_ratios.min():.6f}", f"{one.gradient_ratios.max():.6f}")
        below = f"{one.gradient_bound:.6f}"
        rows.append(("", "|grad L| / L >=", below, *ends, f"{seeds:,}", _kept(one.gradient_kept, seeds), ""))
    words = (
        "For t >= 1, smallest and largest over seeds and steps; kept by a seed if at every step. The first bound is "
        "1 - c g_a^2 V / 2, c = 1/h, the second g_a sqrt(V) of Lemma 6.7, both [DER]; the right side of eta_t is lost "
        "in the copy at hand, the form fits the bound [OCR?]."
    )
    return f"{columns(rows, '<<' + '>' * 6)}\n\n{wrapped(words)}"


def _kept(share: Share, seeds: int) -> str:
    return f"{share.count:,} of {seeds:,}"


def _decays(found: Sequence[Decay]) -> str:
    rows = [("loss", "r", "slope", "of seeds", f"within {NEAR:g}", "up to T0", "last loss", "diverged")]
    for one in found:
        slopes, seeds = one.slopes, len(one.losses)
        known = slopes[np.isfinite(slopes)]
        middle, span, near = "-", "-", "-"
        if known.size:
            middle, span = f"{np.median(known):.4f}", f"{known.min():.4f} to {known.max():.4f}"
            near = f"{int(np.sum(np.abs(known + one.power) <= NEAR)):,} of {seeds:,}"
        rows.append(
            (one.experiment.to_dict()["loss"]["name"], f"{one.power:g}", middle, span, near,
             _kept(one.early_kept, seeds), figure_text(_last(one), ".3g"), f"{one.diverged:,}")
        )  # fmt: skip
    words = (
        f"Slope of ln L against ln t over steps {FITTED_FROM:,} to {STEPS - 1:,}, median and range of seeds; the "
        "theorem has -r [TXT]. After T0 eta_t = r L / (t |grad L|^2) [DER], as the printed schedule is lost: it lowers "
        "L by r L / t to first order, so the slope follows from it and is no test of the printed one. Up to T0: seeds "
        "with L(t) <= L(1) / (1 + a (t - 1)), a = eta g_a^2 V L(1) / 2 [DER]; T0 itself is unreadable [OCR?]."
    )
    return f"{columns(rows, '<>>>>>>>')}\n\n{wrapped(words)}"


def _curvatures(found: Sequence[Curvature]) -> str:
    lines = [
        f"{one.loss}, r = 1: the Hessian's norm is at most {one.constant:.3g} t L(t) in {one.steps} steps of "
        f"{one.seeds} seeds, as Lemma C.15 has it for some constant [TXT]; {one.violations} pairs break S1 to S5."
        for one in found
    ]
    return "\n".join(map(wrapped, lines))


def _last(one: Decay) -> float | None:
    """Median of the last loss of runs that did not diverge."""
    last = one.losses[:, -1]
    known = last[np.isfinite(last)]
    return float(np.median(known)) if known.size else None


def _literal(found: Sequence[Decay]) -> str:
    lines = ["eta_t = 2 r / (g_a^2 V t L(t)) after T0 [OCR?], the closest reading of what is left of it."]
    for one in found:
        table = one.experiment.to_dict()
        capped = table["optimizer"]["capped"]
        name = "Capped at 1 / (L (|theta|^2 + 1)) [DER]" if capped else "As it is, uncapped"
        words = f"{name}, r = {one.power:g}, {table['loss']['name']} loss: "
        words += f"{one.diverged:,} of {len(one.losses):,} runs diverge"
        slopes = one.slopes[np.isfinite(one.slopes)]
        if slopes.size:
            words += f"; {_against(float(np.median(slopes)), one.power)}; last loss {figure_text(_last(one), '.3g')}"
        lines.append(f"{words}.")
    return "\n".join(map(wrapped, lines))


def _against(slope: float, power: float) -> str:
    """A fitted slope in words, beside the -r of the theorem."""
    if abs(slope + power) <= NEAR:
        return f"the fitted slope is {slope:.4f}, a power law t^-{power:g}"
    faster = "slower" if slope > -power else "much faster" if slope < -2 * power else "faster"
    return f"the fitted slope is {slope:.4g}: L falls {faster} than t^-{power:g}, not by this power law"


def first_step_text(found: FirstStep) -> str:
    """The paper's figure 1 in words: states of four neurons at two points before and after the first step."""
    rows: list[tuple[str, ...]] = [("neuron", "a", "at i, t = 0", "t = 1", "at j, t = 0", "t = 1", "|b(0)|", "|b(1)|")]
    (before_i, before_j), (after_i, after_j) = found.states
    for k in range(4):
        sizes = [f"{np.linalg.norm(weight[k]):.2g}" for weight in (found.before, found.after)]
        rows.append((f"{k + 1}", f"{found.output[k]:+g}", before_i[k], after_i[k], before_j[k], after_j[k], *sizes))
    points = ", ".join(
        f"{name} = ({x:.3f}, {y:.3f}) of class {label}"
        for name, (x, y), label in zip("ij", found.inputs, ("+1", "-1"), strict=True)
    )
    pairs = [(old, new) for t0, t1 in zip(*found.states, strict=True) for old, new in zip(t0, t1, strict=True)]
    kept = sum(_obeys(old, new) for old, new in pairs)
    words = (
        f"Lemma 6.2 of the first step: {kept} of {len(pairs)} pairs of point and neuron obey it. True neurons (a has "
        "the sign of the class) stay true-living (S1) or become so (S3), false ones stay false-dead (S2) or become so "
        "(S4) [TXT]. The step is long beside the start, so it decides the directions."
    )
    head = [("run", f"seed {found.seed}, float64, d = 2, m = 4"), ("points", points)]
    return "\n\n".join([fields(head), columns(rows, ">><<<<>>"), f"{wrapped(words)}\n{tags_text({'TXT'})}"])


def _obeys(old: str, new: str) -> bool:
    return new == ("true-living" if old.startswith("true") else "false-dead")
