"""Where chunks are not kept, events are made straight from the tables, and nothing else changes."""

import json
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from faults.cohorts import CONFIGS, contents, strays
from helpers import SCRIPTS, Extraction, files_below
from MEDS_transforms.extract import shard_events
from MEDS_transforms.extract.chunks import Chunk

pytestmark = pytest.mark.xdist_group("unwritten_chunks")  # one worker makes what the tests copy

N = 90
IDS = [n % 17 for n in range(N)]
TIMES = [f"2020-01-{1 + n % 28:02}" for n in range(N)]
TABLES = {
    "plain.csv": pl.DataFrame({"subject_id": IDS, "t": TIMES, "v": [n / 7 for n in range(N)]}),
    "quoted.csv": "t,v,subject_id\r\n" + "".join(f'{t},{i}" tube,{i}\r\n' for t, i in zip(TIMES, IDS, strict=True)),
    "compressed.csv.gz": pl.DataFrame({"subject_id": IDS, "t": TIMES, "v": ["a,b", "c", '"'] * (N // 3)}),
    "stored.parquet": pl.DataFrame({"subject_id": IDS, "t": TIMES, "v": range(N)}),
    "parts/1.csv": pl.DataFrame({"subject_id": IDS[:40], "t": TIMES[:40], "v": range(40)}),
    "parts/2.parquet": pl.DataFrame({"subject_id": IDS[40:], "t": TIMES[40:], "v": range(40, N)}),
    "latin.csv": b"subject_id,t,v\n" + b"".join(f"{i},2020-01-01,é{i}\n".encode("cp1252") for i in range(17)),
    "joined.csv": pl.DataFrame({"subject_id": IDS, "v": IDS}),
    "nothing.csv": "subject_id,t,v\n",
    "nor_here.parquet": pl.DataFrame(schema={"subject_id": pl.Int64, "t": pl.String, "v": pl.Float64}),
    "visits.csv": pl.DataFrame({"v": range(16), "t": TIMES[:16]}),
}
EVENT = {"code": ["C", "col(v)"], "time": "col(t)", "time_format": "%Y-%m-%d"}
NUMBERS = {"code": "N", "time": "col(t)", "time_format": "%Y-%m-%d", "numeric_value": "v"}
EVENTS = {
    "plain": {"e": NUMBERS, "constant": {"code": "STATIC", "time": None}},
    "quoted": {"e": EVENT},
    "compressed": {"e": EVENT | {"_metadata": {"described": {"description": "says"}}}},
    "stored": {"e": NUMBERS},
    "parts": {"e": EVENT},
    "latin": {"encoding": "cp1252", "e": EVENT},
    "nothing": {"optional": True, "e": NUMBERS},
    "nor_here": {"optional": True, "e": NUMBERS},
    "joined": {"join": {"table": "visits", "on": "v", "columns": ["t"]}, "e": EVENT},
}
EMPTY = ["nor_here", "nothing"]
IN_PLACE, WRITTEN = ["parts", "plain", "quoted", "stored"], ["compressed", "joined", "latin"]


def make(folder: Path) -> Extraction:
    x = Extraction(folder)
    for name, content in TABLES.items():
        x.table(name, content)
    pl.read_parquet(x.raw / "stored.parquet").write_parquet(x.raw / "stored.parquet", row_group_size=5)
    pl.read_parquet(x.raw / "parts/2.parquet").write_parquet(x.raw / "parts/2.parquet", row_group_size=5)
    x.table("described.csv", pl.DataFrame({"v": ["c", '"'], "says": ["see", "a quote"]}))
    x.events(EVENTS)
    return x


def run(x: Extraction, *more: str, runner: str = "") -> subprocess.CompletedProcess[str]:
    overrides = [
        "stage_configs.shard_events.row_chunksize=25",
        "stage_configs.split_and_shard_subjects.n_subjects_per_shard=3",
        *more,
    ]
    if runner:
        (x.folder / "runner.yaml").write_text(runner)
        overrides.append(f"stage_runner_fp={x.folder / 'runner.yaml'}")
    command = [SCRIPTS / "MEDS_transform-runner", f"pipeline_config_fp={CONFIGS}/extraction.yaml", *x.overrides()]
    return subprocess.run([*command, *overrides], capture_output=True, text=True, timeout=300, check=False)


def results(x: Extraction) -> dict[str, bytes]:
    found = {part: contents(x.cohort / part) for part in ("data", "metadata")}
    files = {f"{part}/{path}": data for part, of_part in found.items() for path, data in of_part.items()}
    return {path: data for path, data in files.items() if "accounting" not in path and "dataset.json" not in path}


def accounts(x: Extraction) -> dict[str, dict]:
    found = {path.stem: json.loads(path.read_text()) for path in (x.cohort / "metadata/accounting").glob("*.json")}
    return {stage: {k: v for k, v in account.items() if k != "outputs"} for stage, account in found.items()}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Extraction:
    """An extraction that keeps all, made stage by stage."""
    x = make(tmp_path_factory.mktemp("kept"))
    ran = run(x, "fuse=false")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return x


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["", "processes", "joblib"])
def test_results_and_accounts_are_the_same_and_nothing_stays(kept, tmp_path, launcher):
    x = make(tmp_path)
    runner = f"parallelize: {{n_workers: 2, launcher: {launcher}}}\n" if launcher else ""
    ran = run(x, "keep_intermediates=false", runner=runner)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert results(x) == results(kept)
    assert accounts(x) == accounts(kept)
    assert set(accounts(x)["shard_events"]["tables"]) == {*IN_PLACE, *WRITTEN, *EMPTY}
    assert "joined.join: rows that have no match in visits: 5 of 90 (5.6 %)" in (
        "".join(path.read_text() for path in (x.cohort / "shard_events/.logs").rglob("*.log"))
    )
    assert files_below(x.cohort / "shard_events") == []
    assert strays(x.cohort) == []
    again = run(x, "keep_intermediates=false")
    assert again.stdout.count("is already done: skipped") == 7


@pytest.mark.slow
def test_with_other_settings_it_is_refused_before_tables_are_read(tmp_path):
    x = make(tmp_path)
    assert run(x, "keep_intermediates=false").returncode == 0
    before = accounts(x), results(x)
    refused = run(x, "keep_intermediates=false", "stage_configs.shard_events.infer_schema_length=3")
    assert refused.returncode == 1
    assert "shard_events: The existing outputs" in refused.stdout.replace(f", {x.cohort}/shard_events", "")
    assert "settings.infer_schema_length: 10000 -> 3" in refused.stdout
    assert "rows" not in refused.stdout
    assert strays(x.cohort) == []
    assert run(x, "keep_intermediates=false").stdout.count("is already done: skipped") == 7
    assert (accounts(x), results(x)) == before


def stopped(folder: Path) -> Extraction:
    """An extraction that fails when chunks are to be converted."""
    x = make(folder)
    x.cohort.mkdir()
    (x.cohort / "convert_to_sharded_events").write_text("no folder")
    assert run(x, "keep_intermediates=false").returncode == 1
    (x.cohort / "convert_to_sharded_events").unlink()
    return x


def hidden(x: Extraction) -> dict[str, list[str]]:
    """The files that are there in place of chunks, by table."""
    folders = (x.cohort / "shard_events/.interim.shard_events").glob("*/*")
    return {path.name: sorted(file.name for file in path.iterdir()) for path in sorted(folders) if path.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize("then", ["keep_intermediates=false", "keep_intermediates=true"])
def test_chunks_are_written_only_of_tables_whose_rows_cannot_be_found_again(kept, tmp_path, then):
    x = stopped(tmp_path)
    there = hidden(x)
    assert [table for table in there if there[table] == ["ids.parquet", "table.json"]] == IN_PLACE
    assert [table for table in there if there[table] == ["table.json"]] == EMPTY
    chunks = {table: sum(file.startswith("[") for file in files) for table, files in there.items()}
    assert {table: n for table, n in chunks.items() if n} == {"compressed": 4, "joined": 4, "latin": 1}
    if then == "keep_intermediates=false":
        shutil.rmtree(next((x.cohort / "shard_events/.interim.shard_events").iterdir()) / "plain")
    ran = run(x, then)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert results(x) == results(kept)
    assert hidden(x) == {}
    assert strays(x.cohort) == []
    chunks = [path for path in files_below(x.cohort / "shard_events") if path.endswith(".parquet")]
    assert len(chunks) == (0 if then == "keep_intermediates=false" else 25)


@pytest.mark.slow
def test_a_table_that_has_changed_is_read_anew(tmp_path):
    x = stopped(tmp_path)
    with (x.raw / "plain.csv").open("a") as file:
        file.write("1,2021-01-01,5.5\n")
    ran = run(x, "keep_intermediates=false")
    assert ran.returncode == 1
    assert "The existing outputs were made with other settings or inputs" in ran.stderr + ran.stdout
    ran = run(x, "keep_intermediates=false", "do_overwrite=True")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert accounts(x)["shard_events"]["tables"]["plain"]["rows"] == N + 1
    df = pl.concat([pl.read_parquet(path) for path in (x.cohort / "data").rglob("*.parquet")])
    assert df.filter(code="N", numeric_value=5.5)["time"].dt.year().to_list() == [2021]


@pytest.mark.slow
def test_a_wrong_row_ends_the_stage_that_reads_it_and_nothing_is_lost_once_it_is_right(kept, tmp_path):
    x = make(tmp_path)
    right = (x.raw / "plain.csv").read_bytes()
    (x.raw / "plain.csv").write_bytes(right.replace(b"2020-01-04,0.428", b"2020-01-04,much 0.428"))
    ran = run(x, "keep_intermediates=false", "check=False", "stage_configs.shard_events.infer_schema_length=2")
    assert ran.returncode == 1
    assert "The stage convert_to_sharded_events ended" in ran.stderr
    assert "plain.csv, column 'v', row 4 after the header: 'much 0.428" in ran.stdout
    (x.raw / "plain.csv").write_bytes(right)
    ran = run(x, "keep_intermediates=false", "do_overwrite=True")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert results(x) == results(kept)
    assert strays(x.cohort) == []


def chunks_in_place(x: Extraction, table: str) -> list[Chunk]:
    plan = shard_events.plan(x.cfg("shard_events", ".row_chunksize=25"))
    unwritten = plan.instead[x.cohort / "shard_events" / table]
    with pytest.raises(FileNotFoundError, match=rf"not known any more where the chunks of {table} are"):
        unwritten.chunks()
    assert list(unwritten.prepare()["tables"]) == [table]
    return unwritten.chunks()


@pytest.mark.parametrize("table", [*IN_PLACE, *WRITTEN])
def test_chunks_are_those_that_would_be_written(kept, tmp_path, monkeypatch, table):
    x = make(tmp_path)
    monkeypatch.setattr(Chunk, "batch_rows", 11)
    for chunk in chunks_in_place(x, table):
        frames = [*chunk.frames()]
        assert_frame_equal(pl.concat(frames), kept.chunk(table, chunk.start, chunk.end))
        ends = [chunk.start + sum(frame.height for frame in frames[: n + 1]) for n in range(len(frames))]
        assert {*range(chunk.start + 11, chunk.end, 11), chunk.end} == {end for end in ends if chunk.ends_batch(end)}


@pytest.mark.parametrize("table", ["plain", "stored"])
def test_a_table_that_changes_while_it_is_read_is_an_error(tmp_path, table):
    x = make(tmp_path)
    first, *others = chunks_in_place(x, table)
    assert len(pl.concat(first.frames())) == 25
    path = next(x.raw.glob(f"{table}.*"))
    path.write_bytes(path.read_bytes())
    for chunk in others:
        with pytest.raises(ValueError, match=rf"The table {table} \(.*{path.name}\) has changed while it was read"):
            [*chunk.frames()]
