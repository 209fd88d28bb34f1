"""The benchmarks run as their README says, here with few rows and the installation under test."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.xdist_group("benchmarks")  # one worker runs them, for all tests

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = Path(sys.executable).parent


def imported(name: str, folder: Path = BENCHMARKS) -> ModuleType:
    """A module of a folder that is not a package; modules beside it can import each other."""
    sys.path.append(str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


measure, record_tables, cost_model = (imported(name) for name in ("measure", "record_tables", "cost_model"))
gen_speed = imported("gen_speed", ROOT / "docs")


def ran(program: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, BENCHMARKS / program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def run(program: str, *arguments: object) -> str:
    done = ran(program, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def results(folder: Path, name: str) -> dict:
    (file,) = folder.glob(f"*-{name}.json")
    return json.loads(file.read_text(encoding="utf-8"))


def peers(*kinds: str) -> list[str]:
    return [argument for kind in kinds for argument in ("--peer", f"{kind}:{kind}={SCRIPTS}")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Raw tables, and the records and cohorts of both benchmarks."""
    folder = tmp_path_factory.mktemp("benchmarks")
    run("synthetic_tables.py", "--format", "csv", "--scale", 0.002, "--output", folder / "raw")
    common = ["--repeat", 1, "--work", folder / "work", "--results", folder / "results", "--compare"]
    kinds = peers("floor", "stages", "runner")
    run("extraction.py", "--raw", folder / "raw", *kinds, *common, "--name", "csv", "--n-subjects-per-shard", 30)
    cohort = folder / "work/extraction-stages/cohort"
    kinds += peers("floor-all-columns")
    run("preprocessing.py", "--cohort", cohort, *kinds, *common, "--name", "preprocessing")
    return folder


def test_preprocessing_of_the_cohort_that_extraction_left(folder):
    """Every benchmark has folders of its own: pre-processing once began by deleting the cohort that it was to read."""
    counts = [
        {run["n_measurements"] for run in results(folder / "results", name)["runs"]}
        for name in ("csv", "preprocessing")
    ]
    [extracted], [tensors] = counts
    assert 0 < extracted < tensors  # since rows derived from time are added


def test_the_floors_and_the_suite_do_the_same(folder):
    """The floor once lost results that are text, and was thus too fast."""
    found = {name: results(folder / "results", name)["differences"] for name in ("csv", "preprocessing")}
    assert found["csv"] == {"stages": [], "runner": []}
    assert found["preprocessing"] == {"stages": [], "runner": [], "floor-all-columns": []}


def test_a_reader_reads_the_tensors_that_preprocessing_left(folder):
    tensors = folder / "work/preprocessing-stages/cohort"
    told = ["--repeat", 1, "--items", 40, "--work", folder / "work", "--results", folder / "results"]
    printed = run("reader.py", "--peer", f"numpy={SCRIPTS}:{tensors}", "--small", tensors, *told)
    found = results(folder / "results", "reader")
    assert [(done["peer"], done["window"]) for done in found["runs"]] == [
        (peer, window)
        for peer in ("numpy", "numpy, small")
        for window in ("random-measurements", "last-measurements", "random-events")
    ]
    assert all(done["items_per_s"] > 0 and done["peak_mib"] > 20 for done in found["runs"])
    assert "## random events" in printed


def test_what_differs_is_said(folder):
    work = folder / "work"
    got = run("agreement.py", "compare", work / "extraction-stages/cohort", work / "preprocessing-stages/cohort")
    assert "files of tensors" in got


def test_every_run_says_what_it_read_and_wrote(folder):
    """All write at least the cohort."""
    for done in results(folder / "results", "csv")["runs"]:
        cohort = folder / f"work/extraction-{done['peer']}/cohort/data"
        size = sum(path.stat().st_size for path in cohort.rglob("*.parquet")) / measure.MIB
        figures = record_tables.whole(done["stages"])
        assert figures["written_mib"] >= size > 0
        assert figures["read_mib"] > 0


def test_a_contender_that_fails_is_left_out(folder, tmp_path):
    """The baseline of ratios is then the next one."""
    empty = tmp_path / "bin"
    empty.mkdir()
    python = empty / "python"
    python.write_text(f'#!/bin/sh\ncase "$1" in -c) exec {sys.executable} "$@";; esac\nexit 3\n')
    python.chmod(0o755)
    told = ["--work", tmp_path / "work", "--results", tmp_path, "--repeat", 2, "--name", "x"]
    broken = ["--peer", f"broken:floor={empty}"]
    run("extraction.py", "--raw", folder / "raw", *broken, *peers("floor"), *told)
    record = results(tmp_path, "x")
    assert record["failed"] == {"broken": "script: it ended with status 3"}
    assert list(record["peers"]) == ["floor"]
    assert len(record["runs"]) == 2


def test_kinds_and_names_are_checked(folder):
    told = ["--raw", folder / "raw", "--results", folder / "none"]
    assert "is not a kind" in ran("extraction.py", *told, "--peer", f"a:b={SCRIPTS}").stderr
    assert "given twice" in ran("extraction.py", *told, *peers("floor", "floor")).stderr
    assert "has no" in ran("extraction.py", *told, "--peer", f"a:newer={SCRIPTS}").stderr


def test_a_command_is_stopped_after_its_limit(tmp_path):
    with pytest.raises(measure.CommandError, match=r"more than 0\.3 s") as raised:
        measure.measured(["/bin/sleep", "60"], tmp_path / "sleep.log", limit_s=0.3)
    assert str(tmp_path) not in raised.value.reason


def test_what_descendants_write_counts(tmp_path):
    command = f"head -c 3000000 /dev/zero > {tmp_path / 'a'}; sh -c 'head -c 4000000 /dev/zero > {tmp_path / 'b'}'"
    found = measure.measured(["/bin/sh", "-c", command], tmp_path / "log")
    assert 7e6 <= found.written_mib * measure.MIB < 7.1e6
    assert found.read_mib * measure.MIB >= 7e6


factors = st.floats(0.1, 10)


@given(st.tuples(factors, factors, factors, factors, factors))
def test_the_cost_model_finds_known_factors(known):
    """The sum of its features times known factors is explained without error."""
    wanted = dict(zip(cost_model.TIME, known, strict=True))
    cases = [
        cost_model.Case(scale * 1e6, shards, workers, cores, 7)
        for scale in (1, 10, 100)
        for shards in (20, 200)
        for workers in (1, 2)
        for cores in (1, 2)
    ]
    measured = [sum(wanted[name] * feature(case) for name, feature in cost_model.TIME.items()) for case in cases]
    model = cost_model.fit(cases, measured, cost_model.TIME)
    assert model.factors == pytest.approx(wanted, rel=1e-6)
    assert model.errors == pytest.approx([0] * len(cases), abs=1e-9)
    assert model(cases[3], cost_model.TIME) == pytest.approx(measured[3])


def test_what_cannot_be_told_apart_counts_as_shared():
    """With all runs on two cores, nothing shows that a part of the work would not get faster with four."""
    cases = [cost_model.Case(rows, 20, 1, 2, 7) for rows in (1e6, 1e7, 1e8)]
    model = cost_model.fit(cases, [7 + 3 * case.rows / 1e6 for case in cases], cost_model.TIME)
    assert model.factors == pytest.approx({"s per stage": 1, "core-s per million rows": 6})


def test_no_factor_is_negative():
    cases = [cost_model.Case(rows, shards, 1, 2, 7) for rows in (1e6, 1e7) for shards in (20, 200)]
    model = cost_model.fit(
        cases, [30 + rows / 1e6 - 0.01 * s for rows in (1e6, 1e7) for s in (20, 200)], cost_model.TIME
    )
    assert min(model.factors.values()) >= 0


def test_workers_without_a_shard_do_not_help():
    few, many = (cost_model.Case(1e9, 10, workers, 2 * workers, 7) for workers in (10, 20))
    assert few.busy_cores == many.busy_cores == 20


@pytest.mark.slow
def test_sizes_are_measured_once_and_removed(tmp_path):
    told = ["--bin", SCRIPTS, "--shards", 5, "--workers", 1, "--work", tmp_path / "work", "--results", tmp_path]
    run("scale.py", *told, "--scales", 0.001, "--name", "sizes")
    assert [path.suffix for path in (tmp_path / "work").iterdir()] == [".log", ".log"]
    record = tmp_path / "sizes.jsonl"
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["pipeline"] for line in lines] == ["extraction", "preprocessing"]
    assert all(line["n_data_files"] == 4 + 1 + 1 and line["files_mib"] > 0 for line in lines)
    run("scale.py", *told, "--scales", 0.001, "--name", "sizes")
    assert record.read_text().splitlines() == [json.dumps(line) for line in lines]
    refused = ran("scale.py", *told, "--scales", 1e6, "--name", "sizes")
    assert refused.returncode == 1
    assert "GB are free" in refused.stderr
    assert "core-hours" in run("cost_model.py", record, "--rows", 1e9)


PAGE = (ROOT / "docs/explanation/speed.md").read_text(encoding="utf-8")


def test_the_page_on_speed_needs_no_record(tmp_path):
    assert gen_speed.filled(PAGE, tmp_path).count(gen_speed.MISSING) == 4


def test_the_newest_release_is_shown_of_records_of_the_same_day(folder, tmp_path):
    record = results(folder / "results", "csv")
    for release in ("0.2.9", "0.2.10"):
        (tmp_path / f"2026-11-29-{release}-extraction.json").write_text(json.dumps(record | {"release": release}))
    assert gen_speed.record_of("extraction", tmp_path)["release"] == "0.2.10"


def test_the_page_on_speed_shows_the_records(folder, tmp_path):
    for file in (folder / "results").glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text())
    lines = [
        {"pipeline": "extraction", "mode": "runner", "scale": scale, "n_shards": 20, "workers": workers, "cores": 2}
        | {"n_stages": 7, "rows": scale * 1.5e7, "n_data_files": 20, "wall_s": 5 + 20 * scale, "cpu_s": 6 + 30 * scale}
        | {"peak_mib": 300 * workers, "files_mib": 300 * scale}
        for scale in (0.1, 1, 4)
        for workers in (1, 2)
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    page = gen_speed.filled(PAGE, tmp_path)
    assert gen_speed.MISSING not in page
    assert page.count("<svg") == 3
    assert "| floor-all-columns |" in page
    assert "| 1,000,000,000 |" in page
    assert all(
        line.strip() for figure in page.split("<figure>")[1:] for line in figure.split("</figure>")[0][1:].splitlines()
    )
    assert gen_speed.filled(PAGE, tmp_path) == page
