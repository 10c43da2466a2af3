"""``jaxor reproduce``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jaxor.estimates import Interval
from jaxor.reproduction import run
from jaxor.reproduction.claims import Claim, Figure, Finding, Measured, Missing, Table
from tests.cli.conftest import Call

CLAIMS = (
    Claim("figure", "3.2", "median epochs", "123"),
    Claim("figure", "3.3", "mean epochs", "200", "It is another law."),
    Claim("finding", "4", "a | b", "yes", "Not so."),
    Claim("open", "5", "something else", "yes"),
    Claim("missing", "6", "falls on images", "0.5"),
)


def measure(runs: int, watch: Any) -> Mapping[str, Measured]:
    watch("counting")
    return {
        "figure": Figure(110.0, Interval(109.0, 111.5), Interval(90.0, 125.0)),
        "finding": Finding(False, f"0 of {runs} runs"),
        "open": Finding(None, "no more than 3 runs"),
        "missing": Missing("there are no images"),
    }


@pytest.fixture(autouse=True)
def one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("small", "A Document", "Some runs", CLAIMS, measure, 5, 7)
    monkeypatch.setattr(run, "DOCUMENTS", {"document": (table,)})


def test_tables_and_files(call: Call, tmp_path: Path) -> None:
    said = call("reproduce")
    assert said.exit_code == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[:2] == ["A Document", "----------"]
    cells = [line.split() for line in lines]
    assert ["3.2", "median", "epochs", "123", "110", "109", "to", "111.5", "90", "to", "125", "reproduced"] in cells
    assert ["3.3", "mean", "epochs", "200", "110", "109", "to", "111.5", "90", "to", "125", "differs"] in cells
    for note in (
        "mean epochs: It is another law.",
        "a | b: 0 of 5 runs. Not so.",
        "falls on images: there are no images.",
    ):
        assert note in lines
    assert "2 differs, 1 reproduced, 1 undecided, 1 cannot be done here" in lines
    folder = tmp_path / "outputs/reproduction/quick"
    assert (
        "| 4 | a \\| b | yes | no | - | - | differs | 0 of 5 runs. Not so. |"
        in (folder / "reproduction.md").read_text()
    )
    again = call("reproduce", "document", "--json", "--quick")
    kept = json.loads((folder / "reproduction.json").read_text())
    assert json.loads(again.stdout) == kept and kept[0]["answers"][0]["verdict"] == "reproduced"
    assert call("reproduce", "--full", "--quiet", "--out", "there").exit_code == 0
    assert json.loads((tmp_path / "there/full/small.json").read_text())["runs"] == 7


def test_what_there_is_not(call: Call) -> None:
    said = call("reproduce", "articles")
    assert said.exit_code == 2 and not said.stdout
    assert said.stderr == "Error: 'articles' is neither a document (document) nor a table (small)\n"
