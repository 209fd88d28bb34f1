"""The pages: what is in them, and that they load nothing."""

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers import ONE_SPLIT, Extraction, Preprocessing, measurements, write_shards
from MEDS_transforms.errors import InputError
from MEDS_transforms.report.charts import COUNT, LOW, NAME, by_name, histogram
from MEDS_transforms.report.page import render
from MEDS_transforms.report.parts import (
    Change,
    Chart,
    Charts,
    Choice,
    Details,
    Fact,
    Facts,
    Picker,
    Section,
    Share,
    Table,
    Text,
    shown,
    sort_key,
)
from MEDS_transforms.report.write import write_comparison, write_report

MOST_BYTES = 5_000_000


class Page(HTMLParser):
    """The elements of a page and its text, without scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def check_loads_nothing(path: Path) -> None:
    """No element of the page names something to load, nor does its style; the browser is told to refuse, besides."""
    page = Page(path)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base"), tag
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    said = {attributes.get("http-equiv"): attributes.get("content") for _, attributes in page.elements}
    assert "default-src 'none'" in (said["Content-Security-Policy"] or "")
    [style] = re.findall(r"<style>(.*?)</style>", path.read_text(encoding="utf-8"), re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


@pytest.fixture
def page(cohort: Preprocessing, tmp_path: Path) -> Page:
    write_report(cohort.dataset, tmp_path / "page.html")
    return Page(tmp_path / "page.html")


def test_a_page_says_what_it_is_and_has_all_sections(page: Page):
    assert ("html", {"lang": "en"}) in page.elements
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    ids = [attributes.get("id") for tag, attributes in page.elements if tag == "section"]
    assert links == [f"#{name}" for name in ids]
    assert len(ids) == 9
    assert "Made up 1.0" in page.text
    for words in ("no files in metadata/accounting", "no stage has noted its time", "no records of stages"):
        assert words in page.text


def test_charts_have_words_for_those_who_do_not_see_them(page: Page):
    charts = [attributes for tag, attributes in page.elements if attributes.get("class") == "chart"]
    assert len(charts) == 9
    assert all(chart["role"] == "img" and len(chart["aria-label"] or "") > 20 for chart in charts)


def test_text_of_the_data_is_text_in_the_page(page: Page):
    assert "Sodium <in serum>" in page.text
    assert not [tag for tag, _ in page.elements if tag == "in"]


def test_a_page_of_an_extraction_and_of_two(extraction: Extraction, tmp_path: Path, cohort: Preprocessing):
    extraction.run_until("finalize_MEDS_data", ONE_SPLIT)
    write_report(extraction.cohort, tmp_path / "one.html")
    write_comparison(extraction.cohort, cohort.dataset, tmp_path / "two.html")
    for path in (tmp_path / "one.html", tmp_path / "two.html"):
        check_loads_nothing(path)
        text = path.read_text(encoding="utf-8")
        assert "08:30" not in text, "an example of a value that was lost"
        assert "&lt;5" not in text
    assert "time not parsed" in (tmp_path / "one.html").read_text(encoding="utf-8")


def test_with_a_smallest_count_figures_of_few_are_left_out(cohort: Preprocessing, tmp_path: Path):
    for min_count in (0, 10):
        write_report(cohort.dataset, tmp_path / f"{min_count}.html", min_count)
    everything, few = ((tmp_path / f"{n}.html").read_text(encoding="utf-8") for n in (0, 10))
    for words in ("Greatest", r"\d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d"):
        assert re.search(words, everything)
        assert not re.search(words, few)
    assert "codes of fewer than 10 subjects" in few
    assert "Bars of fewer than 10 subjects are left out" in few


def test_text_values_are_not_shown(tmp_path: Path):
    rows = measurements((1, None, "A")).with_columns(text_value=pl.lit("a secret diagnosis"))
    write_shards(tmp_path / "data", {"0": rows})
    write_report(tmp_path, tmp_path / "page.html")
    assert "a secret diagnosis" not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("rows", [[(1, None, "A")], [(1, None, "MEDS_BIRTH")], []], ids=["static", "birth", "nothing"])
def test_pages_of_tiny_datasets(tmp_path: Path, rows: list[tuple[object, ...]]):
    write_shards(tmp_path / "data", {"0": measurements(*rows)})
    write_report(tmp_path, tmp_path / "page.html")
    write_comparison(tmp_path, tmp_path, tmp_path / "two.html")
    page = Page(tmp_path / "page.html")
    assert "No code that is shown has a number." in page.text
    assert "nothing to show over time" in page.text


@pytest.mark.parametrize(("microseconds", "day"), [(-(10**17), "-1199-02-15"), (3 * 10**17, "+11476-08-15")])
def test_days_that_python_does_not_know_are_shown(tmp_path: Path, microseconds: int, day: str):
    time = pl.Series("time", [microseconds]).cast(pl.Datetime("us"))
    write_shards(tmp_path / "data", {"0": measurements((1, None, "A")).with_columns(time)})
    write_report(tmp_path, tmp_path / "page.html")
    write_comparison(tmp_path, tmp_path, tmp_path / "two.html")
    assert day in Page(tmp_path / "page.html").text


def test_pages_of_many_codes_and_times_are_small(tmp_path: Path):
    rng, n = np.random.default_rng(0), 300_000
    codes = pl.Series([f"{'a long name of a code ' * 6}{i}" for i in range(30_000)])
    many = pl.DataFrame(
        {
            "subject_id": np.sort(rng.integers(0, 5000, n)),
            "time": pl.Series(rng.integers(-4 * 10**15, 9 * 10**15, n)).cast(pl.Datetime("us")),
            "code": codes.gather(rng.integers(0, len(codes), n)),
            "numeric_value": rng.lognormal(3, 4, n).astype(np.float32),
        }
    )
    write_shards(tmp_path / "data", {"0": many.sort("subject_id", "time")})
    for path in (tmp_path / "page.html", tmp_path / "two.html"):
        if path.stem == "page":
            write_report(tmp_path, path)
        else:
            write_comparison(tmp_path, tmp_path, path)
        assert path.stat().st_size < MOST_BYTES
        check_loads_nothing(path)
    more = many["code"].n_unique() - 200
    assert f"There are {more:,} more" in Page(tmp_path / "page.html").text


def test_whatever_is_shown_is_escaped():
    bad = "</script><script>alert(1)</script>"
    picker = Picker(bad, bad, histogram(), [Choice(bad, [{LOW: bad}], {"x": bad}, [bad], [[bad]], bad)])
    chart = Chart(bad, bad, by_name([{NAME: bad, COUNT: 1}], bad, bad))
    texts = [Text(bad), Facts([Fact(bad, bad, bad)]), Table(bad, [bad], [[bad]], True), Details(bad, bad)]
    parts = [*texts, Charts([chart]), picker]
    text = render(bad, bad, [bad], [Section("x", bad, parts)])
    assert "<script>alert" not in text


def test_a_page_replaces_another_as_a_whole(cohort: Preprocessing, tmp_path: Path):
    path = tmp_path / "new" / "page.html"
    for _ in range(2):
        write_report(cohort.dataset, path)
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Share(0.12345), "12.3 %"),
        (Share(0.99999), "> 99.9 %"),
        (Share(1), "100 %"),
        (Share(0.00001), "< 0.01 %"),
        (Share(0), "0 %"),
        (1234.5678, "1,235"),
        (12.345678, "12.35"),
        (Change(1500), "+1,500"),
        (True, "yes"),
        ("x", "x"),
    ],
)
def test_values_as_people_read_them(value: object, text: str):
    assert shown(value) == text


def test_numbers_sort_as_numbers():
    assert sorted([Share(0.5), 10, 9, Change(-2)], key=sort_key) == [-2, 0.5, 9, 10]
    assert sort_key("Ä") == "ä"


def test_a_folder_as_the_output_is_refused_before_anything_is_counted(tmp_path: Path):
    with pytest.raises(InputError, match=r"is a folder. Name the file to write: --output .*report\.html"):
        write_report(tmp_path / "nothing", tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        write_comparison(tmp_path / "nothing", tmp_path / "nothing", tmp_path)


@pytest.mark.parametrize("shard", [0, -1])
def test_a_shard_that_is_cut_off_is_named_with_what_to_do(cohort, tmp_path: Path, shard: int):
    path = sorted((cohort.dataset / "data").rglob("*.parquet"))[shard]
    path.write_bytes(path.read_bytes()[:-20])
    said = rf"{re.escape(str(path))} cannot be read: its end is missing; .* Get a new copy"
    with pytest.raises(InputError, match=said):
        write_report(cohort.dataset, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_page_is_written_leaves_nothing_beside_it(tmp_path: Path, signum: signal.Signals):
    program = f"""
import os, sys
from pathlib import Path
sys.argv = sys.orig_argv = ["MEDS_transforms", "report"]
from MEDS_transforms.report.page import write_page
write = Path.write_text
def interrupted(path, *args, **kwargs):
    write(path, *args, **kwargs)
    os.kill(os.getpid(), {int(signum)})
Path.write_text = interrupted
write_page(Path({str(tmp_path / "page.html")!r}), "kind", "title", [], [])
print("went on")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (128 + signum, ""), ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_page_can_be_written_in_another_thread(cohort: Preprocessing, tmp_path: Path):
    with ThreadPoolExecutor() as pool:
        pool.submit(write_report, cohort.dataset, tmp_path / "page.html").result()
    assert (tmp_path / "page.html").is_file()
