"""The pages in a browser: Chromium, where it is installed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from helpers import ONE_SPLIT
from MEDS_transforms.report.write import write_comparison, write_report

from .conftest import make_cohort, make_extraction
from .test_usage import line, write_usage

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed, so no page is looked at in a browser"),
    pytest.mark.xdist_group("browser"),
]

WIDTHS = (1280, 400)

CHARTS_WITH_MARKS = """
[...document.querySelectorAll(".chart svg")].filter((chart) =>
  chart.querySelector(".mark-rect path, .mark-area path, .mark-symbol path")
).length
"""
TOO_WIDE = """
(width) => [...document.querySelectorAll("body *:not(.scroll *)")]
  .filter((element) => element.getBoundingClientRect().right > width)
  .map((element) => element.outerHTML.slice(0, 100))
"""
OUT_OF_REACH = """
[...document.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth && box.tabIndex < 0).length
"""
NAMELESS = """
[...document.querySelectorAll("button, select, input")]
  .filter((element) => !(element.textContent.trim() || element.labels?.length)).length
"""
TEXTS_THAT_OVERLAP = """
() => [...document.querySelectorAll(".chart svg")].flatMap((chart) => {
  const texts = [...chart.querySelectorAll("text")].filter((t) => t.textContent && t.getAttribute("opacity") !== "0");
  const boxes = texts.map((t) => [t.textContent, t.getBoundingClientRect()]).filter(([, box]) => box.width > 0);
  return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3
  ).map(([other]) => `${one} | ${other}`));
})
"""
"""Texts of a chart whose boxes overlap; of the heights, in which there is room above and below letters, by 3 pixels."""

LABELS_SAID_TWICE = """
() => [...document.querySelectorAll(".chart svg .role-axis-label")].map((axis) => {
  const texts = [...axis.querySelectorAll("text")].filter((t) => t.textContent && t.getAttribute("opacity") !== "0");
  return texts.map((t) => t.textContent);
}).filter((labels) => new Set(labels).size < labels.length)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of a dataset, one of an extraction with all its notes, and one of both."""
    folder = tmp_path_factory.mktemp("pages")
    cohort, extraction = make_cohort(folder), make_extraction(folder / "extraction")
    extraction.run_until("finalize_MEDS_data", ONE_SPLIT)
    stages = [path.stem for path in (extraction.cohort / "metadata" / "accounting").iterdir()]
    write_usage(extraction.cohort, *(line(s, n, n + 3, w) for n, s in enumerate(sorted(stages)) for w in range(2)))
    pages = {name: folder / f"{name}.html" for name in ("dataset", "extraction", "both")}
    write_report(cohort.dataset, pages["dataset"])
    write_report(extraction.cohort, pages["extraction"])
    write_comparison(extraction.cohort, cohort.dataset, pages["both"])
    return pages


class Seen:
    """A page in the browser, and whatever it complained of or asked for."""

    def __init__(self, browser: Browser, path: Path, width: int = 1280, scheme: str = "light") -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(path.as_uri())
        self.wait_until_drawn(scheme)

    def _said(self, message: ConsoleMessage) -> None:
        self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def wait_until_drawn(self, theme: str) -> None:
        self.page.wait_for_function(f"document.documentElement.dataset.drawn === '{theme}'")

    def number(self, script: str) -> int:
        return int(self.page.evaluate(script))


@pytest.mark.slow
def test_pages_are_drawn_whole_at_any_width_and_ask_for_nothing(browser: Browser, pages: dict[str, Path]):
    for name, path in pages.items():
        for width in WIDTHS:
            seen = Seen(browser, path, width)
            assert seen.complaints == [], name
            assert seen.requests == [path.as_uri()]
            charts = seen.number("document.querySelectorAll('.chart').length")
            assert charts == seen.number(CHARTS_WITH_MARKS) > 0, name
            assert seen.number("document.documentElement.scrollWidth") <= width, name
            assert seen.page.evaluate(TOO_WIDE, width) == [], name
            assert seen.page.evaluate(TEXTS_THAT_OVERLAP) == [], f"{name} at {width}"
            assert seen.page.evaluate(LABELS_SAID_TWICE) == [], f"{name} at {width}"
            seen.page.close()


def test_the_theme_is_the_readers_and_can_be_changed(browser: Browser, pages: dict[str, Path]):
    ground = "getComputedStyle(document.body).backgroundColor"
    label = "document.querySelector('.chart svg .role-axis-label text').getAttribute('fill')"
    found = {}
    for scheme in ("light", "dark"):
        seen = Seen(browser, pages["dataset"], scheme=scheme)
        found[scheme] = seen.page.evaluate(f"[{ground}, {label}]")
        other = "dark" if scheme == "light" else "light"
        seen.page.click("#theme")
        seen.wait_until_drawn(other)
        found[f"{other} by hand"] = seen.page.evaluate(f"[{ground}, {label}]")
        assert seen.complaints == []
        seen.page.close()
    assert found["light"] == found["light by hand"]
    assert found["dark"] == found["dark by hand"]
    assert all(one != other for one, other in zip(found["light"], found["dark"], strict=True))


def test_a_code_can_be_chosen(browser: Browser, pages: dict[str, Path]):
    seen = Seen(browser, pages["dataset"])
    before = seen.page.inner_text(".picker table"), seen.page.inner_html(".picker .chart svg")
    seen.page.select_option(".picker select", index=1)
    seen.page.wait_for_function(f"document.querySelector('.picker table').innerText !== {json.dumps(before[0])}")
    seen.page.wait_for_function(f"document.querySelector('.picker .chart svg')?.innerHTML !== {json.dumps(before[1])}")
    assert seen.number("document.querySelectorAll('.picker .chart svg').length") == 1
    assert seen.complaints == []
    seen.page.close()


def test_a_chart_tells_its_figures(browser: Browser, pages: dict[str, Path]):
    seen = Seen(browser, pages["dataset"])
    seen.page.hover(".chart svg .mark-rect path >> nth=0")
    seen.page.wait_for_selector("#vg-tooltip-element.visible")
    assert "Measurements" in seen.page.inner_text("#vg-tooltip-element")
    seen.page.close()


def test_tables_are_sorted_and_searched(browser: Browser, pages: dict[str, Path]):
    seen = Seen(browser, pages["dataset"])
    table = "#codes table"
    first = f"{table} tbody tr:not([hidden]) td >> nth=0"
    assert seen.page.inner_text(first) == "LAB//1"
    seen.page.click(f"{table} th >> nth=1 >> button")
    assert seen.page.get_attribute(f"{table} th >> nth=1", "aria-sort") == "descending"
    assert seen.page.inner_text(first) == "LAB//1"
    seen.page.click(f"{table} th >> nth=1 >> button")
    assert seen.page.inner_text(first) != "LAB//1"
    seen.page.fill("#codes input", "sodium")
    assert seen.page.inner_text(first) == "LAB//1"
    assert seen.page.inner_text("#codes .found").startswith("1 of ")
    seen.page.close()


def test_the_page_can_be_used_without_a_mouse(browser: Browser, pages: dict[str, Path]):
    seen = Seen(browser, pages["dataset"], width=400)
    assert (seen.number(OUT_OF_REACH), seen.number(NAMELESS)) == (0, 0)
    seen.page.close()
