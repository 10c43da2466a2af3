from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from jaxor import get_experiment, simulate
from jaxor.cli import main
from jaxor.report.page import report_page
from jaxor.store.directory import RunDirectory
from jaxor.store.run import open_run
from jaxor.store.shard import seal


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories ``one``, with a fit and measured paths, ``other``, and ``counts``."""
    folder = tmp_path_factory.mktemp("runs")
    simulate("abs1_convergence", seeds=60, out=folder / "one")
    simulate("abs1_convergence", seeds=range(60, 80), traces="none", out=folder / "other")
    simulate("abs1_convergence", seeds=100, keep="statistics", out=folder / "counts")
    jaxor("fit", folder / "one", "--models", "law", "--folds", "3", "--plots", "--quiet")
    jaxor("geometry", folder / "one", "--seeds", "10", "--quiet")
    return folder


def jaxor(*words: str | Path) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def words(page: str) -> str:
    """What a reader sees."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


class Page(HTMLParser):
    """What a page holds; every element must be closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.titles: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in ("img", "meta"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(found)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found["href"])] if "href" in found else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "h3", "h4"):
            self.titles.append(data)


def test_one_page_with_all_there_is(runs: Path):
    said = jaxor("report", runs / "one")
    file = runs / "one" / "derived" / "report.html"
    assert said == f"Kept in {file}, {file.stat().st_size:,} bytes; open it in a browser.\n"
    text = file.read_text("utf-8")
    page = Page(text)
    wanted = (
        "How runs ended", "Epochs, losses and paths", "Hidden units", "Fit default: epochs to convergence, forecast",
        "Geometry of paths, reference final", "Provenance", "Loss over the steps", "Paths in parameter space",
        "Forecast against actual epochs", "Hyperplanes that runs of abs1_convergence learned",
    )  # fmt: skip
    assert [title for title in wanted if title not in page.titles] == []
    assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") and image["alt"] for image in page.images)
    assert "http" not in text.replace("http-equiv", "") and "<script" not in text
    assert "<figcaption></figcaption>" not in text
    rows = json.loads((runs / "one" / "derived" / "fits" / "default.json").read_text())["rows"]
    assert f"Forecasts of {rows['runs'] - rows['held_out_runs']} of 60 runs" in words(text)
    assert "there were" not in words(text)
    assert len(set(page.ids)) == len(page.ids)
    assert [link for link in page.links if link.removeprefix("#") not in page.ids] == []


def test_equal_directories_give_equal_pages(runs: Path, tmp_path: Path):
    copy = shutil.copytree(runs / "other", tmp_path / "other")
    assert report_page([runs / "other"]) == report_page([copy])


def test_what_is_not_there_is_said_with_what_to_do(runs: Path):
    text = words(report_page([runs / "other"]))
    for hint in ("--traces all", "nothing was fitted; jaxor fit other", "no paths were measured; jaxor geometry other"):
        assert hint in text
    assert "of counts there is no accuracy" in words(report_page([runs / "counts"]))


@pytest.mark.parametrize("name", ["other", "counts"])
def test_a_directory_without_runs_has_a_page(runs: Path, tmp_path: Path, name: str):
    empty = shutil.copytree(runs / name, tmp_path / "empty")
    for shard in (empty / "shards").glob("s*.h5"):
        shard.unlink()
    text = words(report_page([runs / "counts", empty]))
    missing = {"other": "none yet; 20 missing: 60 to 79", "counts": "none yet; 100 missing: 0 to 99"}[name]
    assert "No runs yet." in text and missing in text and "none are there yet; the same jaxor simulate" in text


def test_several_are_compared(runs: Path, tmp_path: Path):
    out = tmp_path / "new" / "page.html"
    found = json.loads(jaxor("report", runs / "one", runs / "counts", "--out", out, "--json"))
    assert found == {
        "path": str(out), "bytes": out.stat().st_size, "simulations": [str(runs / "one"), str(runs / "counts")],
    }  # fmt: skip
    page = Page(out.read_text("utf-8"))
    assert page.titles[0] == "Side by side" and page.titles.count("1. abs1_convergence") == 1


def test_settings_that_differ_are_listed(tmp_path: Path):
    for cap in (30, 90):
        experiment = get_experiment("abs1_convergence").replace(max_epochs=cap)
        simulate(experiment, seeds=5, traces="none", out=tmp_path / str(cap))
    text = report_page([tmp_path / "30", tmp_path / "90"])
    rows = re.findall(r'<th scope="row">([^<]*)</th><td class="text">([^<]*)</td><td class="text">([^<]*)</td>', text)
    assert rows == [("max_epochs", "30", "90")]


@pytest.fixture
def own(runs: Path, tmp_path: Path) -> Path:
    """A copy of ``one``."""
    return shutil.copytree(runs / "one", tmp_path / "run")


def test_another_fit_without_plots_leaves_no_old_plots(own: Path):
    assert "Forecast against actual epochs" in report_page([own])
    jaxor("fit", own, "--models", "law", "--folds", "3", "--quiet")
    assert "Forecast against actual epochs" not in report_page([own])


@pytest.mark.parametrize(
    "links",
    [
        ["derived"], ["derived/fits", "derived/geometry"], ["derived/fits/default.json", "derived/geometry/final"],
        ["derived/fits/default"], ["derived/fits/default/forecast.svg"],
    ],
)  # fmt: skip
def test_links_are_not_followed(own: Path, tmp_path: Path, links: list[str]):
    """What a link in somebody else's directory leads to must not get into a page that is shown around."""
    for number, link in enumerate(links):
        shutil.move(own / link, tmp_path / str(number))
        (own / link).symlink_to(tmp_path / str(number))
    page = report_page([own])
    assert "Forecasts of" not in page and "Forecast against actual epochs" not in page
    parts = {"fit", "geometry"} if links == ["derived"] or len(links) == 2 else {"fit"}
    assert words(page).count("is a link, which a run directory must not hold; remove it") == len(parts)
    assert ("paths seen from" in page) == (len(parts) == 1)


def test_a_fit_of_fewer_runs_or_of_something_else_is_told(own: Path):
    simulate("abs1_convergence", seeds=70, out=own, resume=True)
    assert "When this was fitted there were 60 runs, now there are 70; jaxor fit run --name default --plots" in words(
        report_page([own])
    )
    file = own / "derived" / "fits" / "default.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"identity": "another"}))
    page = report_page([own])
    assert "it is of another simulation" in page and "Forecasts of" not in page


def test_what_made_runs_is_told_where_it_is_not_what_the_directory_was_begun_with(runs: Path, tmp_path: Path):
    path = shutil.copytree(runs / "other", tmp_path / "run")
    assert "computed by" not in report_page([path])
    run = open_run(path)
    (block,) = run.blocks()
    mixed = replace(run.manifest, versions={"jax": "0.0"}, seeds=((80, 90),))
    with RunDirectory.create_or_open(path, mixed, resume=True, allow_mixed=True) as directory:
        directory.add(((80, 83),), seal(replace(block.take(np.arange(3)), seeds=np.arange(80, 83)), mixed))
    text = words(report_page([path]))
    for told in ("begun with jax 0.1", "computed by jax 0.0 on ", "23 seeds: 60 to 82; 7 missing: 83 to 89"):
        assert told in text


def test_given_first_parameters_are_told(tmp_path: Path):
    given = np.ones((3, 3), np.float32)
    simulate("abs1_convergence", seeds=3, traces="none", initial_params=given, out=tmp_path / "run")
    expected = sha256(np.arange(3).tobytes() + given.tobytes()).hexdigest()
    told = f"starts from first parameters that were given, SHA-256 {expected}"
    assert told in words(report_page([tmp_path / "run"]))
    assert told in " ".join(jaxor("info", tmp_path / "run").split())
    assert told.endswith(json.loads(jaxor("info", tmp_path / "run", "--json"))["initial_params_hash"])


def test_hidden_units_are_shown_where_there_are_some(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where none of their plots can be drawn, and not where only losses of failed runs could."""
    monkeypatch.setattr("jaxor.report.hyperplanes.diagnosis_plots", lambda found: {})
    assert "Dead units after training" in report_page([runs / "other"])
    monkeypatch.undo()
    simulate("rosenbrock_valley", seeds=5, traces="none", out=tmp_path / "run")
    page = report_page([tmp_path / "run"])
    assert "no hidden layer linear1.weight" in page and "Plateaus" not in page and "that failed" not in page


def test_no_plots_are_removed_where_a_link_leads(own: Path, tmp_path: Path):
    folder = own / "derived" / "fits" / "default"
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    result = CliRunner().invoke(main, ["fit", str(own), "--quiet"])
    assert result.exit_code == 1 and "is a link" in result.output
    assert list((tmp_path / "elsewhere").glob("*.svg"))


def test_damaged_parts_are_left_out_with_the_reason(own: Path):
    (own / "derived" / "fits" / "default.json").write_text('{"jaxor_fit": 1, "models": [{}]}')
    (own / "derived" / "geometry" / "nowhere").mkdir(parents=True)
    (own / "derived" / "geometry" / "exact").mkdir()
    text = report_page([own])
    assert "is not a fit of jaxor" in text and "reference must be final, exact or extra" in text
    assert "nothing was measured yet; jaxor geometry run goes on with it" in text


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ([], 2, "Missing argument 'DIR...'"),
        (["nowhere"], 1, "nowhere"),
        (["{one}", "{one}"], 2, "several different ones"),
        (["{one}", "--out", "{one}"], 2, "is a directory"),
        (["{one}", "--out", "{one}/manifest.json/page.html"], 1, "cannot write"),
    ],
)
def test_misuse_is_one_sentence(runs: Path, words: list[str], code: int, why: str):
    result = CliRunner().invoke(main, ["report", *(word.format(one=runs / "other") for word in words)])
    assert result.exit_code == code and why in result.output and "Traceback" not in result.output
    assert result.output.startswith("Error: ") and len(result.output.splitlines()) == 1
