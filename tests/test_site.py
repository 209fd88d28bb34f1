"""The built documentation, opened from disk in a browser: it fits wide and narrow screens, and nothing is missing."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = {"wide": 1280, "narrow": 400}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("site"),  # one worker builds the site, for all tests
    pytest.mark.skipif(CHROMIUM is None, reason="the browser chromium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="mkdocs-material is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    ran = subprocess.run(
        build, cwd=ROOT, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright_api.Browser"]:
    with playwright_api.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def pages_of(site: Path) -> list[Path]:
    return sorted(path for path in site.rglob("*.html") if path.name != "404.html")


WIDER_THAN_THE_SCREEN = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT_OFF = """[...document.querySelectorAll(".md-content *")].filter(it => {
  const box = it.getBoundingClientRect();
  if (box.width == 0 || box.right <= innerWidth + 1) return false;
  for (let above = it.parentElement; above; above = above.parentElement) {
    if (["auto", "scroll"].includes(getComputedStyle(above).overflowX)) return false;
  }
  return true;
}).map(it => it.outerHTML.slice(0, 100))"""
BROKEN_IMAGES = "[...document.images].filter(it => !it.complete || it.naturalWidth == 0).map(it => it.src)"


@pytest.mark.parametrize(("width", "colours"), [(WIDTHS["wide"], "light"), (WIDTHS["narrow"], "dark")])
def test_every_page_fits_the_screen_and_needs_no_network(site, browser, width, colours):
    problems: dict[str, list[str]] = {}
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)
    noted: list[str] = []
    page.on("console", lambda said: noted.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: noted.append(f"error: {error}"))
    page.on("request", lambda asked: noted.append(f"network: {asked.url}") if is_remote(asked.url) else None)
    page.on("requestfailed", lambda asked: noted.append(f"missing: {asked.url}") if is_missing(asked.failure) else None)
    for path in pages_of(site):
        noted.clear()
        page.goto(path.as_uri())
        if (excess := page.evaluate(WIDER_THAN_THE_SCREEN)) > 0:
            noted.append(f"{excess} pixels wider than the screen")
        noted += [f"cut off: {html}" for html in page.evaluate(CUT_OFF)]
        noted += [f"no image: {source}" for source in page.evaluate(BROKEN_IMAGES)]
        if noted:
            problems[path.relative_to(site).as_posix()] = [*noted]
    page.close()
    assert problems == {}


def is_missing(failure: str) -> bool:
    """NOTE: what the browser still fetches, its icon, say, when the next page is opened, counts as failed, too."""
    return "ERR_ABORTED" not in failure


def is_remote(url: str) -> bool:
    return urlsplit(url).scheme not in ("file", "data", "blob")


LINKS = "[...document.querySelectorAll('a[href]')].map(it => it.href)"
PLACES = "[...document.querySelectorAll('[id], a[name]')].map(it => it.id || it.name)"


def test_links_lead_to_pages_and_places_that_exist(site, browser):
    page = browser.new_page()
    links: dict[Path, set[str]] = {}
    places: dict[Path, set[str]] = {}
    for path in pages_of(site):
        page.goto(path.as_uri())
        links[path] = {link for link in page.evaluate(LINKS) if urlsplit(link).scheme == "file"}
        places[path] = set(page.evaluate(PLACES))
    page.close()
    assert sum(map(len, links.values())) > 100
    lost = {(str(path.relative_to(site)), link) for path in links for link in links[path] if not leads(link, places)}
    assert lost == set()


def leads(link: str, places: dict[Path, set[str]]) -> bool:
    parts = urlsplit(link)
    path, place = Path(unquote(parts.path)), unquote(parts.fragment)
    return path.is_file() and (not place or place.startswith("__") or place in places.get(path, set()))


def test_the_search_finds_a_stage_from_disk(site, browser):
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.locator(".md-search__input").click()
    page.locator(".md-search__input").press_sequentially("filter_subjects")
    found = page.locator(".md-search-result__link").first
    found.wait_for(timeout=20_000)
    hrefs = page.locator(".md-search-result__link").evaluate_all("all => all.map(it => it.href)")
    page.close()
    assert any("stages/filter_subjects.html" in href for href in hrefs)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_names_of_files_are_above_their_blocks(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((site / "tutorial" / "extraction.html").as_uri())
    names = page.locator(".highlight span.filename")
    assert "tutorial/events.yaml" in names.all_inner_texts()
    assert all(name.is_visible() for name in names.all())
    page.close()
