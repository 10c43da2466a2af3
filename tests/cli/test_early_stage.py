"""``jaxor early-stage``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxor.analysis import corollaries, table1
from jaxor.cli import early_stage
from jaxor.experiments import image_files
from tests.cli.conftest import Call

SMALL = ("--points", 8, "--dimension", 10, "--width", 60)


@pytest.mark.parametrize(
    ("study", "arguments", "plots"),
    [
        ("descent", (*SMALL, "--data", "one_pair", "--seeds", 5, "--kappa", 1e-5), True),
        ("data", (*SMALL, "--delta", 0.2), False),
        ("data", ("--data", "image_pair", "--points", 6), False),
        ("data", ("--data", "digits"), False),
        ("first-step", (), True),
    ],
)
def test_text_and_a_file(call: Call, tmp_path: Path, study: str, arguments: tuple[Any, ...], plots: bool):
    said = call("early-stage", study, *arguments, "--out", "here", *(["--plots"] if plots else []))
    assert said.exit_code == 0, said.stderr
    assert said.stderr == "" and said.stdout.endswith("\nKept in here.\n")
    kept = json.loads((tmp_path / "here/study.json").read_text())
    assert kept["study"] == study
    assert any(path.suffix == ".svg" for path in (tmp_path / "here").iterdir()) == plots
    again = call("early-stage", study, *arguments, "--json", "--quiet")
    assert json.loads(again.stdout) == kept
    assert (tmp_path / "outputs").is_dir()


def test_table_is_the_default(call: Call, tmp_path: Path, monkeypatch: Any):
    for name, value in (("WIDTH", 8), ("OTHERS", ()), ("table", partial(table1.table, rates=(0.01,)))):
        monkeypatch.setattr(table1, name, value)  # one cell of thirteen
    said = call("early-stage", "--width", 8, "--seeds", 2, "--json")
    assert said.exit_code == 0, said.stderr
    kept = json.loads((tmp_path / "outputs/early-stage-table-digits/study.json").read_text())
    assert kept == json.loads(said.stdout)
    assert (kept["study"], kept["source"], [cell["width"] for cell in kept["by_width"]]) == ("table", "digits", [8])


def test_sgd(call: Call, tmp_path: Path, monkeypatch: Any):
    few = partial(corollaries.many_classes, batches=(8,), losses=("exponential",))
    monkeypatch.setattr(corollaries, "many_classes", few)
    said = call("early-stage", "sgd", "--seeds", 2)
    assert said.exit_code == 0, said.stderr
    kept = json.loads((tmp_path / "outputs/early-stage-sgd-digits/study.json").read_text())
    assert [(one["batch"], len(one["descents"]["values"])) for one in kept["by_batch"]] == [(8, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tabel",), "'tabel' is not one of"),
        (("table", "--points", 8), "table has no use for --points"),
        (("table", "--delta", 0.2), "table has no use for --delta"),
        (("data", "--delta", 1), "delta must be between 0 and 1, got 1"),
        (("sgd", "--width", 100), "sgd has no use for --width"),
        (("first-step", "--seeds", 8), "first-step has no use for --seeds"),
        (("data", "--data", "digits", "--points", 8), "data has no use for --points"),
        (("data", "--plots"), "data has no use for --plots"),
        (("lemmas", "--width", 8, "--width", 9), "lemmas takes one --width"),
        (("table", "--data", "antipodal"), "table is for the data digits, mnist, fashion_mnist, cifar10, got"),
        (("rates", "--data", "mnist"), "rates is for the data antipodal"),
        (("descent", "--points", 7), "task.n must be even and positive, got 7"),
        (("descent", "--seeds", 0), "seeds must be at least 1, got 0"),
        (("descent", "--width", 0), "width must be at least 1, got 0"),
        (("descent", "--kappa", -1), "kappa must be a positive number, got -1"),
        (("rates", "--width", 20), "V of eq. (7) is"),
        (("table", "--images", "nowhere"), "'nowhere' does not exist"),
        (("table", "--data", "mnist", "--images", "x.npz"), "x.npz"),
    ],
)  # fmt: skip
def test_what_cannot_be(call: Call, tmp_path: Path, arguments: tuple[object, ...], message: str, monkeypatch: Any):
    monkeypatch.setenv("JAXOR_IMAGES", "")
    (tmp_path / "x.npz").write_bytes(b"nothing")
    said = call("early-stage", *arguments)
    assert (said.exit_code, said.stdout) == (2, "")
    assert message in said.stderr and said.stderr.count("\n") == 1 and said.stderr.startswith("Error: ")


def test_images_of_ones_own(call: Call, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("JAXOR_IMAGES", "")
    pixels = np.random.default_rng(0).integers(1, 256, (1000, 3072), np.uint8)
    np.savez(tmp_path / "cifar10.npz", x=pixels, y=np.arange(1000) % 10)
    said = call("early-stage", "sgd", "--data", "cifar10", "--images", "cifar10.npz", "--seeds", 1)
    assert said.exit_code == 2  # of published images it asks for their published hash
    assert "SHA-256" in said.stderr or "sha256" in said.stderr


def test_names_of_data_are_those_of_the_studies():
    from jaxor.analysis.separated_nets import DATA

    assert early_stage.SEPARATED == DATA
    assert set(early_stage.IMAGES) == set(image_files.SOURCES)
