"""What is said of the studies: their figures, and each caveat when and only when it applies."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jaxor.analysis.bounds import theorem_4_6
from jaxor.analysis.promises import ImagePromises, Promises
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.analysis.statements import Bound, Setting
from jaxor.estimates import wilson
from jaxor.report.early_stage import many_classes_text, table_text, two_classes_text
from jaxor.report.early_stage_lemmas import first_step_text, lemmas_text, rates_text
from jaxor.report.statements import TAGS, data_text, image_data_text, premises_text
from tests.report import studies

TEXTS: dict[str, Callable[[], str]] = {
    "data": lambda: data_text(Promises(studies.NETS)),
    "premises": lambda: premises_text(theorem_4_6(studies.digits(), Setting(200, 1e-6, 0.01, "logistic"))),
    "table": lambda: table_text(studies.table("cifar10")),
    "two classes": lambda: two_classes_text(studies.two_classes()),
    "many classes": lambda: many_classes_text(studies.many_classes()),
    "lemmas": lambda: lemmas_text(studies.lemmas()),
    "rates": lambda: rates_text(studies.rates()),
    "first step": lambda: first_step_text(studies.first_step()),
}


def flat(text: str) -> str:
    """Without line ends."""
    return " ".join(text.split())


def row(text: str, *start: str) -> list[str]:
    """Cells of the first line that begins with these."""
    return next(cells for line in text.splitlines() if tuple((cells := line.split())[: len(start)]) == start)


@pytest.mark.parametrize("name", TEXTS)
def test_lines_fit_and_every_tag_that_is_used_is_explained(name: str) -> None:
    text = TEXTS[name]()
    assert max(map(len, text.splitlines())) <= 100
    shown = re.findall(r"\[(TXT|OCR\?|DER|OPQ|NB)[ \];:,]", text)
    explained = {tag for tag, words in TAGS.items() if f"[{tag}] {words}" in flat(text)}
    assert explained == set(shown) != set()
    assert all(shown.count(tag) >= 2 for tag in explained)  # where it is used, and where it is explained


# What is promised


def test_premises_are_shown_one_by_one() -> None:
    answers = {"m >= 6": True, "s = 0": False, "m = Omega(1)": None, "d = Omega(log m)": None}
    bound = Bound(
        "Theorem 9", "descent, at least", None, 34, "eta <= .01", None, answers, {"bound": "TXT"}, ("A note.",)
    )
    text = premises_text(bound)
    assert "1 of 4 hold, 1 fails, 2 open (cannot be decided)" in text
    for line in ("yes   m >= 6", "no    s = 0", "open  m = Omega(1)", "open  d = Omega(log m)", "A note."):
        assert line in text.splitlines()
    assert "says        descent, at least: constant not given, within 34 steps" in text
    assert "probability not known, as constants in it are not given" in text
    assert "at least 0.25 if all premises held, but some fail\n" in premises_text(replace(bound, probability=0.25))
    assert "vacuous" in premises_text(replace(bound, probability=0.0)) and "vacuous" not in text


def test_data_with_their_constants_and_promises() -> None:
    nets, text = studies.NETS, flat(data_text(Promises(studies.NETS)))
    found = nets.separation
    overlap = 1 / 2 - math.sqrt(8 * math.log(64 / 0.1) / nets.width)
    v = overlap / 8 * (2 / 8 * (1 - found.gamma) + found.gamma)  # the larger branch of eq. (7) here
    assert 2 / 8 * found.lam < 2 / 8 * (1 - found.gamma) + found.gamma
    for figure in (f"gamma {found.gamma:.6g}", f"lambda {found.lam:.6g}", f"V {v:.6g}", "mu_0 1 by linear programs"):
        assert figure in text
    promised = 0.193 * (found.gamma1 - found.gamma2 * math.sqrt(8 * math.log(640) / nets.width)) - 0.0111
    assert f"descent at least {promised:.4f} in 44 steps [OPQ]" in text
    assert f"L(t+1) <= {1 - v / 2:.6f} L(t)" in text and f"L(t+1) <= {1 - v / 8:.6f} L(t)" in text  # g_a = 1, 1/2
    assert f"a = {0.01 * v / 2:.3g} L(1)" in text
    assert "no 4.5: x_i.x_j > s" in text and "yes 4.1 (ii): mu_0 > 0" in text
    assert "Corollary 4.3: all premises hold." in text
    assert "Theorem 5.3: open: m = Omega(log(n / delta)), kappa = O(eta_0 mu_0 / n)." in text


def test_narrow_nets_are_promised_nothing() -> None:
    text = flat(data_text(Promises(studies.NARROW)))
    assert "not above 0, so nothing is promised" in text and "so nothing" not in flat(data_text(Promises(studies.NETS)))
    assert "Corollary 4.3: fails: m >= max(144 ln(2 n^2 / delta), 4)." in text
    assert "Theorem 5.3: fails: V > 0" in text and "L(t+1) <= - L(t)" in text


def test_few_dimensions_are_promised_nothing() -> None:
    """2 m e^-2d is above 1 in one dimension."""
    nets = SeparatedNets(points=4, given_dimension=1)
    assert "A promise of probability 0 is vacuous" in flat(data_text(Promises(nets)))
    assert "vacuous" not in data_text(Promises(studies.NETS))


def test_no_number_is_kept_without_its_premises() -> None:
    kept = json.loads(json.dumps(Promises(studies.NETS).to_dict(), allow_nan=False))
    assert kept["premises"]["4.1 (ii): mu_0 > 0"] and not kept["premises"]["4.5: x_i.x_j > s for some s > -1"]
    assert [one["statement"] for one in kept["bounds"]] == ["Corollary 4.3", *["Theorem 5.2", "Theorem 5.3"] * 2]
    for one in kept["bounds"]:
        assert one["premises"] and one["provenance"]["bound"] in ("OPQ", "DER") and one["probability"] > 0.8


def test_the_remark_on_one_pair_is_called_false_where_it_is() -> None:
    nets = SeparatedNets("one_pair", points=8, given_dimension=10)
    mu0 = nets.separation.mu0
    assert mu0 is not None and mu0 < 1
    assert f"mu_0 is {mu0:.6g}: as written the remark is false" in flat(data_text(Promises(nets)))
    assert "remark" not in data_text(Promises(studies.NETS))
    vars(nets)["separation"] = replace(nets.separation, mu0=1.0)
    assert "remark" not in data_text(Promises(nets))
    vars(nets)["separation"] = replace(
        nets.separation, mu0=None
    )  # as of more points than linear programs are solved for
    assert "not computed for more than 200 points; at least" in flat(
        data_text(Promises(nets))
    ) and "remark" not in data_text(Promises(nets))


# Table 1


def test_cells_of_the_table() -> None:
    text = table_text(studies.table("cifar10"))
    cells = row(text, "200", "0.01")
    half = 4.302653 * 0.01 / math.sqrt(3)  # t of 2 degrees of freedom
    low, high = f"{0.52 - half:.4f}", f"{0.52 + half:.4f}"
    assert cells[2:] == ["34", "0.5200", "0.0100", low, "to", high, "0.534", "-0.0140", "0.0300", "no"]  # .489 is not
    assert ["0.489", "+0.0310"] in [line.split() for line in text.splitlines()]
    cells = row(text, "200", "0.002")
    assert [cells[2], cells[3], *cells[-4:]] == ["173", "0.5210", "0.543", "-0.0220", "0.0300", "yes"]
    assert text.count("0.534") == 2  # in one row, and where the two figures are explained


def test_the_head_of_the_table() -> None:
    text = flat(table_text(studies.table()))
    assert "SHA-256 81e0d03ee0cae284c9ddf64e4cdf0795fa9bfb4d59ee622ea3e893c782407518" in text
    assert "the first 1,000, of 64 pixels" in text and "smallest 0.2766, mean 0.6932, over all pairs" in text
    assert "61 of 64 pixels, those that are 0 in every image are left out; this leaves the law of the losses" in text
    rotated = flat(table_text(studies.table(reduce="rotation")))
    assert "X = U S V^T replaced by U S" in rotated and "leaves the law" in rotated
    assert "leaves the law" not in flat(table_text(studies.table(reduce="none")))


def test_where_no_figure_is_printed_none_is_compared() -> None:
    said, words = flat(table_text(studies.table())), "The paper prints no figures for digits"
    assert words in said and "one run each" not in said and "printed figures go" not in said
    assert row(table_text(studies.table()), "200", "0.01")[-4:] == ["-", "-", "0.0300", "-"]
    assert "prints no figures" not in flat(table_text(studies.table("mnist")))


@pytest.mark.parametrize(("sd", "verdict"), [(0.02, "explains both"), (0.01, "does not explain both")])
def test_a_cell_that_is_printed_twice(sd: float, verdict: str) -> None:
    rows = ((200, 0.01, (0.52 - sd, 0.52, 0.52 + sd)),)
    text = flat(table_text(studies.table("cifar10", rows, rows)))
    assert "m = 200, eta = 0.01 is printed twice, as 0.534 and 0.489" in text
    assert f"sd over seeds, {sd:.4f}, {verdict};" in text
    assert "printed twice" not in flat(table_text(studies.table("mnist", rows, rows)))


def test_the_paper_s_variation_along_eta() -> None:
    same = flat(table_text(studies.table("mnist")))
    assert "eta T is 0.340 to 0.346, and the same seeds fall by 0.5200 to 0.5210 on the mean" in same
    assert "hardly depends on eta" in same and "The printed figures go from 0.478 to 0.495, more than" in same  # .478
    fitting = ((200, 0.01, (0.47, 0.48, 0.49)), (200, 0.002, (0.48, 0.49, 0.50)))
    text = flat(table_text(studies.table("mnist", fitting[:1], fitting)))
    assert "which noise of seeds explains: runs of one setting differ with an sd of 0.0100" in text
    other = (fitting[0], (200, 0.002, (0.3, 0.4, 0.5)))
    assert "the descent differs by 0.0800" in flat(table_text(studies.table("mnist", fitting[:1], other)))
    assert "nothing to compare" in flat(table_text(studies.table("mnist", fitting[:1], fitting[:1])))


def test_the_bound_beside_the_table_is_not_about_it() -> None:
    text = flat(table_text(studies.table()))
    assert "promises 0.262533 [OPQ]" in text and "All 2 means of the table are above it" in text
    assert "constants of the exponential loss [OCR?], while this table is logistic" in text
    assert "the paper sets the same number beside every eta" in text
    one = ((100, 0.01, (0.2, 0.21)), (200, 0.01, (0.4, 0.5)))
    text = flat(table_text(studies.table("digits", one, one[1:])))
    assert "1 of 2 means of the table are above it" in text and "beside every eta" not in text


def test_the_caveat_of_initialisation_with_what_the_theorem_s_own_gives() -> None:
    text = table_text(studies.table())
    said = flat(text)
    assert "W ~ N(0, kappa^2), output weights +-1 that are not scaled by 1 / sqrt(m)" in said
    assert "That is not the initialisation of Theorem 4.6" in said
    assert "below the bound 0.262533: logistic 0.1250 and 0.1256; above the bound 0.262533: exponential" in said
    rows = [line for line in text.splitlines() if line.startswith("the theorem's, c = kappa / sqrt(m")]
    assert [re.split("  +", line)[:4] for line in rows if "logistic" in line] == [
        ["the theorem's, c = kappa / sqrt(m (d + 1))", "logistic", "2", "0.1250"],
        ["the theorem's, c = kappa / sqrt(m)", "logistic", "2", "0.1256"],
    ]
    assert [re.split("  +", line)[-1] for line in rows] == ["0 of 2", "2 of 2", "2 of 2"] * 2
    assert row(text, "neither's,")[-7:] == ["logistic", "2", "0.0081", "0.0e+00", "0", "of", "2"]
    swapped = flat(table_text(studies.table(others=(0.3,))))
    assert "is above the bound 0.262533: logistic 0.3000." in swapped and "below the bound" not in swapped


def test_a_single_seed_has_no_sd() -> None:
    one = ((200, 0.01, (0.489,)),)
    cells = row(table_text(studies.table("mnist", one, one)), "200", "0.01")
    assert cells[3:] == ["0.4890", "-", "-", "0.478", "+0.0110", "0.0200", "yes"]


# Corollaries


def test_two_classes_beside_the_bound() -> None:
    study = studies.two_classes()
    bound = study.descents.bound
    assert bound is not None and bound.bound is not None
    above = sum(value >= bound.bound for value in (0.02, 0.03, 0.07, 0.08))
    low, high = wilson(above, 4)
    text = flat(two_classes_text(study))
    assert "smallest 0.02000, mean 0.05000, largest 0.08000" in text and f"bound {bound.bound:.5f}" in text
    assert "mean 0.003156 to 0.096844, 95 % interval by Student's t" in text  # t of 3 degrees of freedom is 3.182446
    share = f"{25 * above:.1f} % ({100 * low:.1f} % to {100 * high:.1f} %), Wilson 95 %"
    assert f"above it {above} of 4 seeds: {share}" in text
    width, stated = studies.NETS.width, 1 - 0.1 - 2 * studies.NETS.width * math.exp(-20)
    assert f"stated at least {stated:.6g}, 1 - delta - 2 m e^-2d with delta = 0.1, m = {width:,}, d = 10" in text
    assert "yes m >= max(144 ln(2 n^2 / delta), 4)" in text and "factors 1/4, 1/2 and 1 agree" in text
    assert "if all premises held" not in text
    assert "if all premises held, but some fail" in flat(two_classes_text(studies.two_classes(nets=studies.NARROW)))
    assert "no m >= max(144 ln(2 n^2 / delta), 4)" in flat(two_classes_text(studies.two_classes(nets=studies.NARROW)))


def test_runs_that_diverged_are_counted() -> None:
    text = flat(two_classes_text(studies.two_classes((0.02, math.nan, 0.07, math.nan))))
    assert "T = 44; 2 runs diverged, so that there is no mean descent smallest -, mean -, largest -" in text
    assert "nan" not in text and "diverged" not in two_classes_text(studies.two_classes())


def test_streams_have_no_bound() -> None:
    text = two_classes_text(studies.two_classes())
    assert row(text, "20", "2") == ["20", "2", "0.06000", "0.06125", "0.06250", "0.00177"]
    assert "Appendix E, which bounds it, was not at hand" in flat(text)
    without = flat(two_classes_text(studies.two_classes(streams=False)))
    assert "nothing fresh can be drawn" in without and "Appendix E" not in without


def test_many_classes_by_loss_and_batch() -> None:
    text = many_classes_text(studies.many_classes())
    cells = row(text, "exponential", "16")
    assert cells[2:6] == ["3", "0.3600", "0.3610", "0.3620"] and cells[-1] == "0.9000"
    assert row(text, "logistic", "16")[-1] == "-"  # of a loss that is not covered nothing is stated
    assert "A dash: a premise fails (below), so nothing is stated." in flat(text)
    assert "100.0 %" in text and row(text, "logistic", "64")[6:8] == ["0.0", "%"]
    assert "exponential: all premises hold." in text
    assert "logistic: fails: 4.4 (iii): g_min = 1/e." in text and "logistic is not covered" in text
    assert "vacuous" not in text
    exponential = many_classes_text(studies.many_classes(losses=("exponential",)))
    assert "not covered" not in exponential and "g_min" not in exponential


def test_a_vacuous_probability_is_called_so() -> None:
    text = flat(many_classes_text(studies.many_classes((1, 64), ("exponential",))))  # 200 * .17 > 1
    assert "the statement is vacuous and says nothing: exponential, B = 1." in text
    assert row(many_classes_text(studies.many_classes((1, 64))), "exponential", "1")[-1] == "0.0000"


# Lemmas, rates, the first step


def test_lemmas() -> None:
    study = studies.lemmas()
    text = lemmas_text(study)
    assert row(text, "6.2", "S1")[-4:] == ["2", "of", "2", "0"] and row(text, "6.5")[-4:] == ["1", "of", "2", "-0.25"]
    assert row(text, "0")[1:] == ["0.2400", "to", "0.2500", "0.2500", "to", "0.2600"] + ["0.2500", "to", "0.2600"] + [
        "0.2400", "to", "0.2500",
    ]  # fmt: skip
    assert row(text, "1") == ["1", "0.5000", "0.0000", "0.0000", "0.5000"]
    assert row(text, "5") == ["5", "0.5000", "0.0000", "0.0000", "0.5000"]
    assert row(text, "0.01") == ["0.01", "0", "0", "97.0", "(50.0", "%)", "0", "291.0", "(100.0", "%)"]
    assert row(text, f"{study.nets.kappa:.4g}")[1:] == ["0"] * 5
    norms, losses = study.figures["hessian_norm"], study.figures["loss"]
    c_hat = max(norms[seed, t] / (t * losses[seed, t]) for seed in (0, 1) for t in range(1, 6))
    assert f"C_hat {c_hat:.4g} =" in flat(text) and "H 0.9, largest" in flat(text)
    assert "drifts by 0.01 at most, from 1" in flat(text)


@pytest.mark.parametrize(
    ("hitting", "words"),
    [
        ((3, 2), "T 2 to 3 (|f|"),
        ((4, 3), "T 3 to 4; at least, for 1 of 2 seeds"),
        ((4, 4), "T 4; at least, for 2 of 2"),
    ],
)
def test_a_hitting_time_that_was_not_reached_is_at_least_so_long(hitting: tuple[int, int], words: str) -> None:
    assert words in flat(lemmas_text(studies.lemmas(hitting)))


def test_contractions_beside_their_bounds() -> None:
    study = studies.rates()
    text = rates_text(study)
    bound = 1 - study.v / 2
    assert row(text, "exponential")[-8:] == [f"{bound:.6f}", "0.840000", "0.850000", "2", "2", "of", "2", "3"]
    assert row(text, "|grad")[-7:] == ["0.136000", "0.410000", "0.410000", "2", "2", "of", "2"]
    broken = rates_text(studies.rates(ratio=0.9999))
    assert row(broken, "exponential")[-5:] == ["2", "1", "of", "2", "3"]


def test_the_hessian_along_theorem_5_2() -> None:
    said = flat(rates_text(studies.rates()))
    assert "exponential, r = 1: the Hessian's norm is at most 0.478 t L(t) in 300 steps of 4 seeds" in said


def test_slopes_beside_r() -> None:
    text = rates_text(studies.rates((-1.04, -2.06, -3.0)))
    assert row(text, "exponential", "1")[2:9] == ["-1.0400", "-1.0400", "to", "-1.0400", "2", "of", "2"]
    assert row(text, "exponential", "2")[2:9] == ["-2.0600", "-2.0600", "to", "-2.0600", "0", "of", "2"]
    assert "T0 itself is unreadable [OCR?]" in flat(text) and "no test of the printed one" in flat(text)


def test_the_literal_schedule() -> None:
    text = flat(rates_text(studies.rates()))
    assert "As it is, uncapped, r = 1, exponential loss: 2 of 2 runs diverge." in text
    assert "0 of 2 runs diverge; the fitted slope is -90: L falls much faster than t^-1, not by this power law" in text
    assert "the fitted slope is -1.0000, a power law t^-1" in flat(rates_text(studies.rates(capped_slope=-1)))
    assert "L falls slower than t^-1" in flat(rates_text(studies.rates(capped_slope=-0.5)))


def test_the_first_step_in_words() -> None:
    study = studies.first_step()
    text = first_step_text(study)
    assert "8 of 8 pairs of point and neuron obey it" in flat(text)
    assert row(text, "3")[1:6] == ["+0.5", "true-dead", "true-living", "false-living", "false-dead"]
    assert row(text, "1")[-1] == f"{math.sqrt(5):.2g}"
    (at_i, at_j), after = study.states[1], study.states[0]
    other: Any = (after, (("true-dead", *at_i[1:]), at_j))
    assert "7 of 8 pairs" in flat(first_step_text(replace(study, states=other)))


def test_no_text_has_a_number_that_is_none() -> None:
    """Whatever is not known is a dash."""
    diverged = studies.image_descents([np.nan, 0.5], 200, 0.01)
    study = studies.table()
    text = table_text(replace(study, others=(diverged,)))
    assert not re.search(r"\bnan\b|\bNone\b", text)


def test_images_beside_their_assumptions() -> None:
    said = flat(image_data_text(ImagePromises("digits")))
    assert "smallest 0.2766, mean 0.6932" in said
    assert "yes 4.4: exponential loss" in said and "no 5.1: hinge loss" in said
    assert "Corollary 4.7, exponential: descent at least 0.262533 [OPQ]; all premises hold." in said
    assert "Theorem 4.6, exponential: descent Omega(1); open:" in said


def test_without_its_pair_the_assumption_fails() -> None:
    study = Promises(SeparatedNets("one_pair"))
    assert study.mu0_without_pairs == -np.inf
    assert "Without antipodes mu_0 is -inf: the assumption fails." in flat(data_text(study))
    assert Promises(SeparatedNets("antipodal")).mu0_without_pairs is None
    assert "Without antipodes" not in data_text(Promises(SeparatedNets("antipodal")))
