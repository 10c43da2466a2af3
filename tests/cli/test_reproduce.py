"""``jaxor reproduce``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from jaxor.estimates import Interval
from jaxor.reproduction import run
from jaxor.reproduction.claims import Claim, Table
from jaxor.reproduction.figures import Figure, Finding, Measured, Missing
from jaxor.reproduction.work import Work
from tests.cli.conftest import Call

CLAIMS = (
    Claim("figure", "3.2", "median epochs", "123"),
    Claim("figure", "3.3", "mean epochs", "200", "It is another law."),
    Claim("finding", "4", "a | b", "yes", "Not so."),
    Claim("open", "5", "something else", "yes"),
    Claim("missing", "6", "falls on images", "0.5"),
    Claim("share", "7", "success", "29/50"),
)


def measure(runs: int, work: Work) -> Mapping[str, Measured]:
    work.watch("counting")
    return {
        "figure": Figure(110.0, Interval(109.0, 111.5), Interval(90.0, 125.0), "8 samples of 5"),
        "finding": Finding(False, f"0 of {runs} runs"),
        "open": Finding(None, "no more than 3 runs"),
        "missing": Missing("there are no images"),
        "share": Figure(0.6, Interval(0.59, 0.612), Interval(0.5, 0.7), "8 samples of 50"),
    }


@pytest.fixture(autouse=True)
def one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("small", "A Document", "Some runs", "By `counting`.", CLAIMS, measure, 5, 7)
    late = Table("late", "A Document", "Many runs", "", CLAIMS[:1], measure, 0, 7)
    monkeypatch.setattr(run, "DOCUMENTS", {"document": (table, late)})


def test_tables_and_files(call: Call, tmp_path: Path) -> None:
    said = call("reproduce")
    assert said.exit_code == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[:2] == ["Some runs", "---------"] and max(map(len, lines)) <= 80
    for line in (
        "reproduced  3.2: median epochs",
        "            printed 123, here 110.0 (95 %: 109.0 to 111.5); samples 90.0 to",
        "differs     3.3: mean epochs",
        "            It is another law.",
        "            0 of 5 runs. Not so.",
        "undecided   5: something else",
        "cannot be done here 6: falls on images",
        "            there are no images.",
        "            printed 29/50, here 30.0/50 (95 %: 29.5 to 30.6/50); samples 25.0 to",
        "left to --full 3.2: median epochs",
    ):
        assert line in lines
    assert " ".join(lines[-5:-2]) == (
        "2 reproduced, 2 differs, 1 undecided, 1 cannot be done here, 1 left to --full. Of the reproduced, 2 are "
        "printed figures, which few runs may give: 2 of them lie outside the 95 % interval of our mean."
    )
    folder = tmp_path / "outputs/reproduction/quick"
    page = (folder / "reproduction.md").read_text()
    assert (
        "| 3.2 | median epochs | 123 | 110.0 | 109.0 to 111.5 | 90.0 to 125.0 | 8 samples of 5 | reproduced |  |"
        in page
    )
    assert "| 4 | a \\| b | yes | no |  |  |  | differs | 0 of 5 runs. Not so. |" in page
    assert "By `counting`." in page
    assert "Written by `jaxor reproduce`;" in page and "Not on this page" not in page
    again = call("reproduce", "document", "--json", "--quick")
    kept = json.loads((folder / "reproduction.json").read_text())
    assert json.loads(again.stdout) == kept and kept[0]["answers"][0]["verdict"] == "reproduced"
    assert [bool(one["why"]) for one in kept[0]["answers"]] == [False, True, True, False, False, False]
    assert (folder / "reproduction.md").read_text() == page
    assert call("reproduce", "--full", "--quiet", "--out", "there").exit_code == 0
    assert json.loads((tmp_path / "there/full/small.json").read_text())["runs"] == 7


def test_what_was_measured_before_stays_on_the_page(call: Call, tmp_path: Path) -> None:
    page = tmp_path / "outputs/reproduction/full/reproduction.md"
    said = call("reproduce", "late", "--full")
    assert "Not on this page: small." in page.read_text() and "Some runs" not in said.stdout
    assert "Written by `jaxor reproduce --full`;" in page.read_text()
    said = call("reproduce", "small", "--full")
    assert "Many runs" not in said.stdout
    assert all(f"### {title}" in page.read_text() for title in ("Some runs", "Many runs"))


def test_an_interruption_says_what_is_safe(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(runs: int, work: Work) -> Mapping[str, Measured]:
        raise KeyboardInterrupt

    first, late = run.DOCUMENTS["document"]
    monkeypatch.setattr(run, "DOCUMENTS", {"document": (first, replace(late, measure=interrupted))})
    said = call("reproduce", "--full")
    assert said.exit_code == 130
    assert said.stderr == (
        "Error: interrupted; finished tables, and finished parts of the one under way, are safe in "
        "outputs/reproduction/full; go on with: jaxor reproduce --full\n"
    )
    kept = (tmp_path / "outputs/reproduction/full").iterdir()
    assert sorted(path.name for path in kept) == ["late-parts", "small.json"]


def test_what_there_is_not(call: Call) -> None:
    said = call("reproduce", "articles")
    assert said.exit_code == 2 and not said.stdout
    assert said.stderr == "Error: 'articles' is neither a document (document) nor a table (small, late)\n"
