"""Reports as people see them: in Chromium, wide and narrow, light and dark, by keyboard and for screen readers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jaxor import simulate
from jaxor.cli import main
from jaxor.report.page import report_page

pytestmark = pytest.mark.browser

SCREENS = Path("outputs/screenshots")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
NASTY = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=quiet)
        yield browser
        browser.close()


def jaxor(*words: str | Path) -> None:
    """A command, which must work."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output


def replace_in(file: Path, *keys: str | int) -> None:
    """Put what is not harmless into a file of somebody else's."""
    table = inner = json.loads(file.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = NASTY
    file.write_text(json.dumps(table))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports by what they are of."""
    folder = tmp_path_factory.mktemp("reports")
    large, counts, wide, named = (folder / name for name in ("large", "counts", "wide", "named"))
    simulate("relu1_normal", seeds=10_000, out=large)
    jaxor("fit", large, "--models", "law", "--plots", "--quiet")
    jaxor("geometry", large, "--seeds", "50", "--quiet")
    simulate("relu1_normal", seeds=20_000, keep="statistics", out=counts)
    simulate("digits_mlp", seeds=4, out=wide)
    simulate("abs1_convergence", seeds=30, out=named)
    jaxor("fit", named, "--models", "law", "--quiet")
    replace_in(named / "manifest.json", "platform", "system")
    replace_in(named / "derived/fits/default.json", "models", 0, "name")
    made = {"large": [large], "counts": [counts], "wide": [wide], "named": [named], "several": [large, counts, named]}
    for name, directories in made.items():
        (folder / f"{name}.html").write_text(report_page(directories), "utf-8")
    return {name: folder / f"{name}.html" for name in made}


NAMES = ("large", "counts", "wide", "named", "several")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desktop", "phone"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_goes_wrong(chromium: Any, pages: dict[str, Path], name: str, screen: str, scheme: str):
    from axe_playwright_python.sync_playwright import Axe

    context = chromium.new_context(
        viewport=WIDE if screen == "desktop" else PHONE, color_scheme=scheme, device_scale_factor=1, offline=True
    )
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1

    images = page.evaluate("[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt.length > 20])")
    assert len(images) >= 4 and all(all(one) for one in images)
    assert page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth"), (
        "the page itself scrolls sideways"
    )
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")

    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}-{screen}-{scheme}.png", full_page=True)
    context.close()

    # The checker is a script, which the page's own policy forbids.
    context = chromium.new_context(
        viewport=WIDE if screen == "desktop" else PHONE, color_scheme=scheme, bypass_csp=True, offline=True
    )
    page = context.new_page()
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def test_size_of_ten_thousand_seeds(pages: dict[str, Path]):
    assert pages["large"].stat().st_size < 5_000_000


def test_keyboard(chromium: Any, pages: dict[str, Path]):
    page = chromium.new_page(viewport=PHONE)
    page.goto(pages["large"].as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0, "the skip link cannot be seen"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('nav') !== null")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash").startswith("#run-1-")
    for _ in range(60):  # to a plot that is wider than a phone
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('figure .wide')"):
            break
    page.keyboard.press("ArrowRight")
    scrolled = "document.activeElement.scrollLeft > 0"  # soon; the page's own policy forbids `wait_for_function`
    assert any(page.evaluate(scrolled) or page.wait_for_timeout(100) for _ in range(50))


def test_headings_go_down_one_by_one(chromium: Any, pages: dict[str, Path]):
    page = chromium.new_page()
    page.goto(pages["several"].as_uri())
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))


def test_text_from_elsewhere_is_shown_and_not_run(chromium: Any, pages: dict[str, Path]):
    page = chromium.new_page()
    page.goto(pages["named"].as_uri())
    text = page.evaluate("document.body.textContent")
    assert text.count(NASTY) == 2
    assert page.evaluate("document.scripts.length") == 0
