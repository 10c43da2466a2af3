"""The geometry of optimisation paths: what of it holds when a factor of training changes, by the studies of jaxor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jaxor.analysis.path_claims import Verdict
from jaxor.analysis.path_results import PathResult, run_study
from jaxor.analysis.path_study import load_study
from jaxor.analysis.path_work import Paths
from jaxor.experiments.registry import ExperimentError
from jaxor.reproduction.claims import Claim, Table
from jaxor.reproduction.figures import Finding, Measured, Missing
from jaxor.reproduction.paths import DOCUMENT, HOLDS, beside_walk
from jaxor.reproduction.work import Work

STUDIES = {
    "batch_size": "batch size", "width_depth": "width and depth", "data_set": "data set",
    "optimizer": "optimizer, in batches of 64",
}  # fmt: skip
"""Factors by the study that varies them."""

WORDS = {True: "yes", False: "no", None: "open"}

PROPERTIES = {"P1": "gradients point to the end, far beyond a random walk", "P5": "RSI, EB and gamma are stable"}

_WHY = {
    "width_depth/P5": "The longer training is, the less EB grows, see training_length in docs/geometry.md; at this "
    "length it is close to what is asked, on either side.",
    "data_set/P1": "With images of norm 1 the rate of the study is too large: the loss goes up and down, see "
    "docs/geometry.md.",
    "optimizer/P5": "Where the rate falls to 0, runs hardly move any more, and RSI and EB, which are relative to the "
    "distance that is left, grow.",
}


def factors(runs: int, work: Work) -> Mapping[str, Measured]:
    """What the abstract says, of all settings of each study."""
    found: dict[str, Measured] = {
        "own_nets": Missing("it takes accelerators and data sets that are not at hand; nets here are small")
    }
    for name in STUDIES:
        work.watch(f"the study {name}")
        at, study = Paths(work.folder / name), replace(load_study(name), seeds=runs)
        try:
            seen = run_study(study, at.measure, at.train)
        except ExperimentError as error:  # images that are not there
            found |= {f"{name}/{claim}": Missing(str(error)) for claim in PROPERTIES}
            continue
        found |= {f"{name}/{claim}": _in_all(claim, seen.arms) for claim in PROPERTIES}
    return found


def _in_all(claim: str, arms: Mapping[str, PathResult]) -> Finding:
    """Whether a property is there in all settings; open if it is refuted in none, but not shown in all."""
    verdicts = {label: next(one for one in arm.verdicts if one.claim == claim) for label, arm in arms.items()}
    answers = [HOLDS[verdict.answer] for verdict in verdicts.values()]
    figures = ". ".join(f"{label} {WORDS[HOLDS[one.answer]]} ({_figures(one)})" for label, one in verdicts.items())
    return Finding(False if False in answers else None if None in answers else True, figures)


def _figures(verdict: Verdict) -> str:
    return "; ".join(f"{figure.value:.3g}{beside_walk(figure)}" for figure in verdict.figures)


_CLAIMS = (
    *(
        Claim(f"{name}/{claim}", "Abstract", f"{factor}: {text}", "yes", _WHY.get(f"{name}/{claim}", ""))
        for name, factor in STUDIES.items()
        for claim, text in PROPERTIES.items()
    ),
    Claim("own_nets", "Abstract", "all that of the nets and data sets of the paper", "yes"),
)

TABLES = (
    Table(
        "paths-factors", DOCUMENT, "Factors, image classification",
        f"The studies {', '.join(f'`{name}`' for name in STUDIES)} of `jaxor geometry --study`, on digits. A "
        "property has to be there in all settings of a study, by what is asked in the tables above. In brackets: the "
        "share of steps with gamma above 0, and gamma over that of a random walk; largest over smallest RSI, EB and "
        "gamma of tenths 2 to 8. Other architectures are those of the tables above.",
        _CLAIMS, factors, 0, 36,
    ),
)  # fmt: skip
