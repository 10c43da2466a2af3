from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from jaxor import get_experiment, simulate
from jaxor.cli import main
from jaxor.report.page import report_page


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
    assert len(set(page.ids)) == len(page.ids)
    assert [link for link in page.links if link.removeprefix("#") not in page.ids] == []


def test_equal_directories_give_equal_pages(runs: Path):
    assert report_page([runs / "other"]) == report_page([runs / "other"])


def test_what_is_not_there_is_said_with_what_to_do(runs: Path):
    text = re.sub(r"<[^>]+>", " ", report_page([runs / "other"]))
    for hint in ("--traces all", "nothing was fitted; jaxor fit", "no paths were measured; jaxor geometry"):
        assert hint in text


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


def test_links_are_not_followed(own: Path, tmp_path: Path):
    """What a link in somebody else's directory leads to must not get into a page that is shown around."""
    secret = tmp_path / "secret"
    secret.write_text("<svg>secret</svg>")
    plot = own / "derived" / "fits" / "default" / "forecast.svg"
    plot.unlink()
    plot.symlink_to(secret)
    text = report_page([own])
    assert "Forecast against actual epochs" not in text and "Errors of forecasts against actual epochs" in text


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
    text = report_page([own])
    assert "is not a fit of jaxor" in text and "reference must be final, exact or extra" in text


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
