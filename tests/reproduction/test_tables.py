"""Tables of the documents: every claim is measured, and measurements are what they are called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import jaxor
from jaxor.reproduction import convergence, early_stage, paths
from jaxor.reproduction.claims import CANNOT, DIFFERS, LEFT, OPEN, REPRODUCED, Claim, Table, number
from jaxor.reproduction.figures import Figure, Finding, Measured, Missing, exactly
from jaxor.reproduction.run import DOCUMENTS, chosen, reproduce
from jaxor.reproduction.work import Work

VERDICTS = REPRODUCED, DIFFERS, CANNOT, OPEN

ALL = [table for tables in DOCUMENTS.values() for table in tables]


def nothing(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxor.reproduction.figures.DRAWS", 100)


@cache
def measured(name: str, runs: int) -> Mapping[str, Measured]:
    (table,) = chosen([name])
    with TemporaryDirectory() as folder:
        return table.measure(runs, Work(Path(folder)))


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_figures_are_numbers_and_statements_are_yes(table: Table) -> None:
    keys = [(claim.measure, claim.printed) for claim in table.claims]
    assert len(set(keys)) == len(keys)
    for claim in table.claims:
        assert claim.printed == "yes" or np.isfinite(number(claim.printed)[0])


@pytest.mark.parametrize("name", [pytest.param("sampling-one-layer", marks=pytest.mark.full), "sampling-two-layers"])
def test_every_claim_of_sampling_is_measured(name: str) -> None:
    (table,) = chosen([name])
    found = measured(name, 200)
    for claim in table.claims:
        kind = Finding if claim.printed == "yes" else (Figure, Missing)
        assert isinstance(found[claim.measure], kind), claim.measure


def test_figures_of_sampling_are_those_of_the_runs() -> None:
    """Success and mean epochs of all runs: the mean of samples without a run in common is that of the runs."""
    found, run = measured("sampling-two-layers", 200), jaxor.simulate("relu2_two_mse_sgd", 200, traces="none")
    for key, expected in (("success", np.mean(run.final_accuracy == 1)), ("mean", np.mean(run.epochs))):
        figure = found[f"control/{key}"]
        assert isinstance(figure, Figure) and figure.value == pytest.approx(expected, rel=1e-12)
    first = found["initial/mean"]
    scanned = jaxor.simulate("relu2_init_dist", 400, traces="none").initial_loss
    assert isinstance(first, Figure) and first.value == pytest.approx(scanned.astype(np.float64).mean(), rel=1e-12)


def test_the_data_sets_are_the_articles() -> None:
    """Its 18 features, and rows of all states but the last of 100 runs, each set of other seeds."""
    one, two = convergence.data_set(0), convergence.data_set(1)
    run = jaxor.simulate("abs1_convergence", 100, traces="none")
    assert one.features.shape == ((run.epochs - 1).sum(), 18) and one.epochs.max() == run.epochs.max() - 1
    assert not np.isin(two.l2, one.l2).any()
    assert (one.l1 <= np.sqrt(3) * one.l2 * (1 + 1e-12)).all()


def test_the_law_and_the_speed_of_convergence() -> None:
    law = convergence._law(jaxor.simulate("abs1_convergence", 1000, traces="none"))
    assert law.holds and "of 1,000 runs" in law.figures
    speed = convergence._speed()
    assert speed.holds is False and "each step is 0.800 times" in speed.figures


@pytest.mark.parametrize(
    ("fitted", "held_out", "holds"), [(0.93, 0.8, False), (0.8, 0.93, True), (0.93, 0.92, None), (0.7, 0.8, False)]
)
def test_printed_r2_tell_what_they_are_of(fitted: float, held_out: float, holds: bool | None) -> None:
    """Those of the five models with folds are .934 together."""
    noise = np.random.default_rng(3).normal(0, 0.01, (2, 40))
    scores: dict[str, list[float]] = {}
    for name in convergence.CROSS_VALIDATED:
        scores |= {name: (fitted + noise[0]).tolist(), f"{name}/held_out": (held_out + noise[1]).tolist()}
    found = convergence._cross_validated(scores)
    assert found.holds is holds and "is 0.934 as printed" in found.figures


@pytest.mark.full
def test_every_claim_of_the_convergence_article_is_measured() -> None:
    """Data set and law are looked at above; here all regressors are trained."""
    found = measured("convergence", 200)
    assert all(claim.measure in found for claim in convergence.TABLES[0].claims)


def test_without_images_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAXOR_IMAGES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = reproduce(chosen(["early-stage-cifar10"])[0], False, tmp_path, nothing)
    assert {one.verdict for one in done.answers} == {CANNOT}
    assert all(isinstance(one.measured, Missing) and "cifar10" in one.measured.why for one in done.answers)
    assert not list(tmp_path.iterdir())  # the images may be there the next time


@pytest.mark.full
def test_every_claim_of_the_theory_is_measured() -> None:
    """Its parts have tests of their own in tests/analysis."""
    found = measured("early-stage-theory", 4)
    assert all(claim.measure in found for claim in early_stage.TABLES[-1].claims)
    json.dumps(found)


def test_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(paths.NETS, "classification", "abs1_convergence")
    found = paths.paths("classification", 40, Work(tmp_path))
    assert set(found) == {claim.measure for claim in paths.TABLES[0].claims}
    answers = {name: one.holds for name, one in found.items() if isinstance(one, Finding)}
    assert answers == {
        "obstacles": True, "line": True, "stable": True, "consistent": True, "linear": True, "decay": True,
        "warm_up": False,
    }  # fmt: skip


def small(calls: list[int]) -> Table:
    def measure(runs: int, work: Work) -> Mapping[str, Measured]:
        calls.append(runs)
        work.watch("counting")
        assert work.once("part", lambda: [0.5, runs]) == [0.5, runs]
        return {"a": exactly(12), "b": Finding(None, "no figures"), "c": Missing("nothing here")}

    claims = tuple(Claim(name, "1", f"claim {name}", "10") for name in "abc")
    return Table("small", "A document", "A table", "By counting.", claims, measure, 5, 7)


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    first = reproduce(small(calls), False, tmp_path, nothing)
    again = reproduce(small(calls), False, tmp_path, nothing)
    assert calls == [5] and (first.runs, first.made, first.answers) == (again.runs, again.made, again.answers)
    assert [path.name for path in tmp_path.iterdir()] == ["small.json"]
    reproduce(small(calls), True, tmp_path, nothing)
    assert calls == [5, 7]
    monkeypatch.setattr("jaxor.reproduction.run.versions_used", lambda: {"jaxor": "another"})
    assert again.made is not None and again.made.versions["jaxor"] != "another"
    reproduce(small(calls), True, tmp_path, nothing)
    (tmp_path / "small.json").write_text("{broken")
    reproduce(small(calls), True, tmp_path, nothing)
    assert calls == [5, 7, 7, 7]
    assert json.loads((tmp_path / "small.json").read_text())["runs"] == 7


def test_a_kept_table_that_lacks_a_claim_is_measured_again(tmp_path: Path) -> None:
    calls: list[int] = []
    table = small(calls)
    reproduce(replace(table, claims=table.claims[:2]), False, tmp_path, nothing)
    kept = json.loads((tmp_path / "small.json").read_text())
    del kept["measured"]["c"]
    (tmp_path / "small.json").write_text(json.dumps(kept))
    reproduce(replace(table, claims=table.claims[:2]), False, tmp_path, nothing)
    assert calls == [5]
    reproduce(table, False, tmp_path, nothing)
    assert calls == [5, 5]


def test_parts_outlive_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def part(name: str) -> str:
        made.append(name)
        return name

    def measure(_: int, work: Work) -> Mapping[str, Measured]:
        begun = bool(made)
        work.once("first", lambda: part("first"))
        if not begun:
            raise KeyboardInterrupt
        work.once("second", lambda: part("second"))
        return {"a": exactly(len(made))}

    table = Table("small", "A document", "A table", "", (Claim("a", "1", "parts", "2"),), measure, 5, 7)
    with pytest.raises(KeyboardInterrupt):
        reproduce(table, False, tmp_path, nothing)
    (parts,) = (tmp_path / "small-parts").iterdir()
    spent = Work(parts).spent
    done = reproduce(table, False, tmp_path, nothing)
    assert done.answers[0].verdict == "reproduced" and made == ["first", "second"]
    assert done.made is not None and done.made.seconds > spent[0] > 0 and done.made.cpu_seconds >= spent[1]


def test_parts_of_other_versions_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def measure(_: int, work: Work) -> Mapping[str, Measured]:
        work.once("part", lambda: made.append("part"))
        if len(made) == 1:
            raise KeyboardInterrupt
        return {"a": exactly(2)}

    table = Table("small", "A document", "A table", "", (Claim("a", "1", "parts", "2"),), measure, 5, 7)
    with pytest.raises(KeyboardInterrupt):
        reproduce(table, False, tmp_path, nothing)
    monkeypatch.setattr("jaxor.reproduction.run.versions_used", lambda: {"jaxor": "another"})
    reproduce(table, False, tmp_path, nothing)
    assert len(made) == 2 and [path.name for path in tmp_path.iterdir()] == ["small.json"]


def test_tables_that_take_too_long_say_so(tmp_path: Path) -> None:
    (table,) = chosen(["paths-language"])
    done = reproduce(table, False, tmp_path, nothing)
    assert {one.verdict for one in done.answers} == {LEFT} and not list(tmp_path.iterdir())


@pytest.mark.parametrize("names", [[], ["sampling", "sampling-one-layer"], ["paths-language", "convergence"]])
def test_choosing(names: list[str]) -> None:
    tables = [table.name for table in chosen(names)]
    assert len(set(tables)) == len(tables) and (names or len(tables) == len(ALL))


def test_choosing_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="'tables' is neither a document .* nor a table"):
        chosen(["tables"])


def test_the_committed_page_is_of_these_claims() -> None:
    """Each has its row with what is printed, none was left out, and what differs has the reason that the code gives."""
    page = (Path(__file__).parents[2] / "docs/reproduction.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert "Not on this page" not in page
    assert len(rows) == sum(len(table.claims) for table in ALL) + 2 * len(ALL)
    for table in ALL:
        section = page[page.index(f"### {table.title}\n\n`{table.name}`: {table.full:,} runs, ") :].split("\n### ")[0]
        assert table.how in section
        for claim in table.claims:
            start = "".join(f"| {cell} " for cell in (claim.where, claim.statement.replace("|", "\\|"), claim.printed))
            (row,) = (line for line in section.splitlines() if line.startswith(f"{start}| "))
            verdict, note = row.removesuffix(" |").split(" | ")[-2:]
            assert verdict in (REPRODUCED, DIFFERS, OPEN, CANNOT)
            assert verdict != DIFFERS or (claim.why and claim.why.replace("|", "\\|") in note)


def test_the_readme_has_the_counts_of_the_page() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs/reproduction.md").read_text(encoding="utf-8")
    (said,) = (
        line for line in (root / "README.md").read_text(encoding="utf-8").split("\n\n") if "`jaxor reproduce`" in line
    )
    (counted,) = re.findall(r"^\*\*(.*)\*\*$", page, re.MULTILINE)
    counts = {verdict: int(count) for count, verdict in re.findall(rf"(\d+) ({'|'.join(VERDICTS)})\b", counted)}
    figures, outside = re.findall(r"(\d+) (?:are printed|of them)", counted)
    expected = [sum(counts.values()), *(counts.get(verdict, 0) for verdict in VERDICTS), outside, figures]
    assert re.findall(r"\b\d+\b(?! %)", said) == [*map(str, expected)]
