"""What theorems promise of early-stage and global convergence, premise by premise, as text for the terminal.

Of Wang & Ma (NeurIPS 2022). Tags say how certain a reading is, see `jaxor.analysis.assumptions`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from jaxor.analysis.assumptions import Cosines
from jaxor.analysis.halfspaces import LARGEST
from jaxor.analysis.promises import BATCH, ImagePromises, Promises
from jaxor.analysis.separated_nets import RATE
from jaxor.analysis.statements import HIDDEN, Bound, Premises
from jaxor.analysis.table1 import WIDTH
from jaxor.experiments.images import Images
from jaxor.report.tables import columns, count, fields, section, wrapped

TAGS = {
    "TXT": "read in the text",
    "OCR?": "damaged in the copy at hand, the reading that fits",
    "DER": "derived anew",
    "OPQ": "a constant from appendices that were not at hand",
    "NB": "from the authors' notebook",
}

ANSWERS = {True: "yes", False: "no", None: "open"}


def tags_text(tags: Collection[str]) -> str:
    """What the tags that are used mean.

    Examples
    --------
    >>> print(tags_text({"DER", "TXT"}))
    [TXT] read in the text; [DER] derived anew.
    """
    return wrapped("; ".join(f"[{tag}] {words}" for tag, words in TAGS.items() if tag in tags) + ".")


def figure_text(value: float | None, form: str = ".4f") -> str:
    """A number, or a dash where there is none.

    Examples
    --------
    >>> figure_text(0.26253), figure_text(float("nan")), figure_text(None)
    ('0.2625', '-', '-')
    """
    return "-" if value is None or math.isnan(value) else f"{value:{form}}"


def premises_text(bound: Bound) -> str:
    """What a statement says, with which probability, and which of its premises hold.

    Examples
    --------
    >>> print(premises_text(Bound("Theorem 0", "descent, at least", 0.5, 44, "eta = .01", 0.9, {"m >= 6": True},
    ...                           {"bound": "OPQ"})))
    statement   Theorem 0
    says        descent, at least 0.5, within 44 steps
    rate        eta = .01
    probability at least 0.9
    sources     bound [OPQ]
    premises    1 of 1 hold
    <BLANKLINE>
    yes  m >= 6
    <BLANKLINE>
    [OPQ] a constant from appendices that were not at hand.
    """
    number = ": constant not given" if bound.bound is None else f" {bound.bound:.6g}"
    within = "" if bound.steps is None else f", within {count(bound.steps, 'step')}"
    rows = [
        ("statement", bound.statement),
        ("says", f"{bound.quantity}{number}{within}"),
        ("rate", bound.learning_rate),
        ("probability", probability_text(bound)),
        ("sources", sources_text(bound)),
        ("premises", _tally(bound.premises)),
    ]
    answers = columns([(ANSWERS[value], name) for name, value in bound.premises.items()], "<<")
    parts = [fields(rows), answers, *([notes_text(bound.notes)] if bound.notes else [])]
    return "\n\n".join([*parts, tags_text(set(bound.provenance.values()))])


def sources_text(bound: Bound) -> str:
    """Tags of what a statement says."""
    return "; ".join(f"{name} [{tag}]" for name, tag in bound.provenance.items())


def notes_text(notes: Iterable[str]) -> str:
    """Notes one by one, each once."""
    return "\n".join(wrapped(note) for note in dict.fromkeys(notes))


def probability_text(bound: Bound) -> str:
    """With which probability a statement holds."""
    if bound.probability is None:
        return "not known, as constants in it are not given"
    if bound.vacuous:
        return "0: the statement is vacuous, it says nothing"
    return f"at least {bound.probability:.6g}" + " if all premises held, but some fail" * bound.silent


def _tally(premises: Premises) -> str:
    """How many hold, fail and cannot be decided."""
    values = list(premises.values())
    fail, unknown = values.count(False), values.count(None)
    words = [f"{values.count(True)} of {len(values)} hold"]
    words += [f"{fail} {'fails' if fail == 1 else 'fail'}"] * bool(fail)
    return ", ".join(words + [f"{unknown} open (cannot be decided)"] * bool(unknown))


def unmet_text(premises: Premises) -> str:
    """Premises that fail, and those that cannot be decided.

    Examples
    --------
    >>> unmet_text({"m >= 6": True, "s = 0": False, "m = Omega(1)": None})
    'fails: s = 0; open: m = Omega(1)'
    >>> unmet_text({"m >= 6": True})
    'all premises hold'
    """
    groups = [
        f"{word}: {', '.join(names)}"
        for word, kind in (("fails", False), ("open", None))
        if (names := [name for name, value in premises.items() if value is kind])
    ]
    return "; ".join(groups) or "all premises hold"


def data_text(study: Promises) -> str:
    """Two classes of points beside Assumptions 4.1 and 4.5, and what is promised of nets trained on them."""
    nets, found, v = study.nets, study.nets.separation, study.v
    certificate = f"{found.certificate:.6g} by antipodal pairs [DER]"
    mu0 = f"{found.mu0:.6g} by linear programs [DER]; at least {certificate}" if found.mu0 is not None else ""
    rows = [
        ("data", f"{nets.data}: n = {found.samples:,} points, d = {found.dimension:,}"),
        ("nets", f"m = {nets.width:,}, kappa = {nets.kappa:.4g}; delta = {nets.delta:g}"),
        ("mu_0", mu0 or f"not computed for more than {LARGEST:,} points; at least {certificate}"),
        ("gamma", f"{found.gamma:.6g}, smallest inner product within a class [TXT]"),
        ("lambda", f"{found.lam:.6g}, smallest eigenvalue of the classes' Gram matrices [OCR?]"),
        ("V", f"{v:.6g}, eq. (7) with the prefactor 1/8 [DER]" + "; not above 0, so nothing is promised" * (v <= 0)),
        ("across", f"{found.across:.6g}, largest inner product of points of two classes"),
        ("s_hat", f"{found.s_hat:.6g}, smallest inner product of any two points"),
    ]
    remark = ""
    if nets.data in ("one_pair", "image_pair") and found.mu0 is not None and found.mu0 < 1 - 1e-6:
        remark = "\n\n" + wrapped(
            f"The paper remarks that one antipodal pair gives mu_0 = 1. These data have one pair, and mu_0 is "
            f"{found.mu0:.6g}: as written the remark is false. One pair gives the smallest |x_i . x_p| instead."
        )
    if study.mu0_without_pairs is not None:
        verdict = "the assumption fails" if study.mu0_without_pairs <= 0 else "the assumption holds without a pair"
        remark += "\n\n" + wrapped(f"Without antipodes mu_0 is {study.mu0_without_pairs:.6g}: {verdict}.")
    answers = columns([(ANSWERS[value], name) for name, value in study.premises.items()], "<<")
    words = wrapped("Assumption 4.5 is asked by theorems on many classes only; antipodal points violate it.")
    tags = tags_text({"TXT", "OCR?", "DER", "OPQ"})
    return "\n\n".join(
        [
            f"{fields(rows)}{remark}",
            section("Assumptions 4.1 and 4.5", f"{answers}\n\n{words}"),
            section("What is promised", f"{_promises(study)}\n\n{tags}"),
        ]
    )


def _promises(study: Promises) -> str:
    """Corollary 4.3 and Theorems 5.2 and 5.3 of these data, before anything is trained."""
    says = {
        "Corollary 4.3": lambda bound: f"descent at least {figure_text(bound.bound)} in {bound.steps} steps [OPQ]",
        "Theorem 5.2": lambda bound: (
            f"L(t) <= L(1) / (1 + a (t - 1)), a = {figure_text(bound.bound, '.3g')} L(1) [DER]"
        ),
        "Theorem 5.3": lambda bound: f"L(t+1) <= {figure_text(bound.bound, '.6f')} L(t), first layer alone [DER]",
    }
    rows = [("", "loss", "promises", "probability")]
    rows += [
        (bound.statement, loss, says[bound.statement](bound), figure_text(bound.probability))
        for loss, bound in study.bounds
    ]
    unmet = {bound.statement: unmet_text(bound.premises) for _, bound in study.bounds}
    lines = [wrapped(f"{statement}: {words}.") for statement, words in unmet.items()]
    if any(bound.vacuous for _, bound in study.bounds):
        lines.append(wrapped("A promise of probability 0 is vacuous: it says nothing."))
    return "\n\n".join([columns(rows, "<<<>"), "\n".join(lines), wrapped(HIDDEN)])


def image_rows(source: str, images: Images) -> list[tuple[str, str]]:
    """What images were used, as rows of `fields`."""
    number, pixels = images.pixels.shape
    return [
        ("images", f"{source}, the first {number:,}, of {pixels:,} pixels, each of norm 1"),
        ("origin", images.origin),
        ("SHA-256", images.sha256),
    ]


def cosines_text(found: Cosines) -> str:
    """How alike the images are."""
    return f"smallest {found.min:.4f}, mean {found.mean:.4f}, over all pairs of images, each with itself included"


def image_data_text(study: ImagePromises) -> str:
    """Images beside Assumptions 4.4 and 4.5, and what is promised of nets trained on them."""
    rows = [*image_rows(study.source, study.images), ("cosines", cosines_text(study.cosines))]
    answers = columns([(ANSWERS[value], name) for name, value in study.premises.items()], "<<")
    words = wrapped("Assumption 4.1 is about two classes of opposite sign; the data image_pair are made of images so.")
    setting = f"What is promised of m = {WIDTH}, eta = {RATE:g}, batches of {BATCH} with replacement"
    lines = []
    for loss, bound in study.bounds:
        promise = "descent Omega(1)" if bound.bound is None else f"descent at least {bound.bound} [OPQ]"
        lines.append(wrapped(f"{bound.statement}, {loss}: {promise}; {unmet_text(bound.premises)}."))
    probability = max(bound.probability or 0.0 for _, bound in study.bounds)
    return "\n\n".join(
        [
            fields(rows),
            section("Assumptions 4.4, 4.5 and 5.1", f"{answers}\n\n{words}"),
            section(setting, "\n".join(lines)),
            wrapped(f"Corollary 4.7 holds with probability {probability:.4f} where its premises do. {HIDDEN}"),
            tags_text({"OPQ"}),
        ]
    )
