"""The figures of a dataset, against what polars computes of all rows at once."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers import Preprocessing, measurements, write_shards
from MEDS_transforms.report import summary as summaries
from MEDS_transforms.report.counting import Count, added_up, count_piece
from MEDS_transforms.report.data_sections import data_sections
from MEDS_transforms.report.dataset import find_dataset
from MEDS_transforms.report.pieces import Reader
from MEDS_transforms.report.summary import summarize

FINITE = pl.col("numeric_value").is_finite().fill_null(False)


def all_rows(folder: Path) -> pl.DataFrame:
    """The rows of all shards, with the split, and whether the row is a birth."""
    paths = sorted((folder / "data").rglob("*.parquet"))
    frames = [pl.read_parquet(path, glob=False).with_columns(split=pl.lit(path.parent.name)) for path in paths]
    return pl.concat(frames).with_columns(is_birth=pl.col("code") == "MEDS_BIRTH")


def same(found: pl.DataFrame, expected: pl.DataFrame, *key: str) -> None:
    assert_frame_equal(
        found.select(expected.columns).sort(key), expected.sort(key), check_dtypes=False, check_column_order=False
    )


@pytest.mark.parametrize("piece_rows", [7, 150, 10_000])
def test_figures_are_those_of_all_rows(cohort: Preprocessing, piece_rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(summaries, "Reader", lambda dataset: Reader(dataset, piece_rows))
    found, rows = summarize(find_dataset(cohort.dataset)), all_rows(cohort.dataset)
    timed = rows.filter(pl.col("time").is_not_null())
    assert (found.n_subjects, found.n_apart) == (rows["subject_id"].n_unique(), 0)
    assert found.n_values == rows.filter(FINITE).height
    assert found.n_without_birth == 40 - rows.filter("is_birth")["subject_id"].n_unique() > 0
    seen = timed.filter(~pl.col("is_birth"))["time"]
    assert found.time_range == (str(seen.dt.date().min()), str(seen.dt.date().max()))

    events = timed.unique(["subject_id", "time"])
    expected = rows.group_by("split").agg(
        measurements=pl.len(), subjects=pl.col("subject_id").n_unique(), code=pl.col("code").n_unique()
    )
    n_events = events.group_by("split").agg(events=pl.len())
    static = rows.filter(pl.col("time").is_null()).group_by("split").agg(static=pl.len())
    same(found.by_split(), expected.join(n_events, on="split").join(static, on="split"), "split")

    number = pl.col("numeric_value").filter(FINITE)
    of_codes = rows.group_by("code").agg(
        measurements=pl.len(),
        subjects=pl.col("subject_id").n_unique(),
        values=FINITE.sum(),
        least=number.min(),
        greatest=number.max(),
        total=number.cast(pl.Float64).sum(),
    )
    same(found.all_codes, of_codes, "code")


@pytest.mark.parametrize("piece_rows", [7, 10_000])
def test_periods_are_those_of_all_rows(cohort: Preprocessing, piece_rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(summaries, "Reader", lambda dataset: Reader(dataset, piece_rows))
    found, rows = summarize(find_dataset(cohort.dataset)), all_rows(cohort.dataset)
    births = rows.filter("is_birth").group_by("subject_id").agg(birth=pl.col("time").min())
    timed = rows.filter(pl.col("time").is_not_null(), ~pl.col("is_birth")).join(births, on="subject_id", how="left")
    time = pl.col("time")
    timed = timed.with_columns(
        year=time.dt.year(),
        month=time.dt.year() * 12 + time.dt.month() - 1,
        age=((time - pl.col("birth")).dt.total_microseconds() / (365.25 * 24 * 3600e6)).floor().clip(-1, 120),
    )
    for count, key in ((Count.YEARS, "year"), (Count.MONTHS, "month"), (Count.AGES, "age")):
        expected = (
            timed.drop_nulls(key)
            .group_by(pl.col(key).cast(pl.Int32))
            .agg(
                measurements=pl.len(),
                events=pl.struct("subject_id", "time").n_unique(),
                subjects=pl.col("subject_id").n_unique(),
            )
        )
        same(found.counts[count], expected, key)


def test_codes_have_descriptions_and_units(cohort: Preprocessing):
    codes = summarize(find_dataset(cohort.dataset)).all_codes
    row = codes.row(by_predicate=pl.col("code") == "LAB//1", named=True)
    assert (row["description"], row["unit"]) == ("Sodium <in serum>", "mmol/L")
    assert codes["measurements"].is_sorted(descending=True)


def test_codes_of_few_subjects_are_hidden(cohort: Preprocessing):
    everything = summarize(find_dataset(cohort.dataset))
    found = summarize(find_dataset(cohort.dataset), min_count=12)
    few = everything.all_codes.filter(pl.col("subjects") < 12)["code"]
    assert 0 < len(few) == found.n_hidden < everything.codes.height
    assert not set(few) & {*found.codes["code"], *found.codes_with_values(1000)}
    assert found.n_subjects == everything.n_subjects


def test_a_split_is_that_of_the_folder_or_of_the_subject(tmp_path: Path):
    made = Preprocessing(tmp_path)
    rows = measurements((1, None, "A"), (2, None, "A"), (3, None, "A"), (3, None, "B"))
    made.write({"0": rows, "other/0": measurements((1, None, "A"))}, splits={"train": [1, 3], "tuning": [2]})
    found = summarize(find_dataset(made.dataset)).by_split()
    assert dict(found.select("split", "measurements").rows()) == {"train": 4, "tuning": 1}
    made.write({"train/0": measurements((7, None, "A"))}, splits={"train": [1, 3], "tuning": [2]})
    found = summarize(find_dataset(made.dataset)).by_split()
    assert dict(found.select("split", "subjects").rows()) == {"train": 3, "tuning": 1}


def test_without_splits_there_is_one(tmp_path: Path):
    write_shards(tmp_path / "data", {"0": measurements((1, None, "A"))})
    assert summarize(find_dataset(tmp_path)).by_split()["split"].to_list() == ["(no split)"]


def test_a_subject_in_two_splits_counts_once(tmp_path: Path):
    rows = measurements((1, None, "A"))
    write_shards(tmp_path / "data", {"train/0": rows, "tuning/0": rows})
    found = summarize(find_dataset(tmp_path))
    assert (found.n_subjects, found.by_split()["subjects"].sum()) == (1, 2)


@pytest.mark.parametrize("other", ["tuning/0", "train/1"])
def test_subjects_whose_rows_are_in_several_files_are_counted_and_told(tmp_path: Path, other: str):
    rows = measurements((1, None, "A"), (2, None, "A"))
    write_shards(tmp_path / "data", {"train/0": rows, other: rows[1:]})
    found = summarize(find_dataset(tmp_path))
    assert (found.n_subjects, found.n_apart) == (2, 1)
    [size, *_] = data_sections(found)
    assert "Rows of 1 subject are in several files" in str(size.parts)


def test_subjects_whose_rows_are_apart_in_a_large_file_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(summaries, "Reader", lambda dataset: Reader(dataset, piece_rows=2))
    write_shards(tmp_path / "data", {"0": measurements(*((n, None, "A") for n in (1, 2, 3, 4, 1)))})
    found = summarize(find_dataset(tmp_path))
    assert (found.n_subjects, found.n_apart) == (4, 1)


def test_numbers_of_codes_are_turned_into_codes(tmp_path: Path):
    write_shards(
        tmp_path / "data", {"0": measurements((1, None, "A")).with_columns(code=pl.Series([2], dtype=pl.UInt8))}
    )
    assert summarize(find_dataset(tmp_path)).codes["code"].to_list() == ["2"]
    made = pl.DataFrame(
        {"code": ["A", "B"], "code/vocab_index": [1, 2]}, schema_overrides={"code/vocab_index": pl.UInt8}
    )
    write_shards(tmp_path / "metadata", {"codes": made})
    assert summarize(find_dataset(tmp_path)).codes["code"].to_list() == ["B"]


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_other_writers_dtypes(tmp_path: Path, unit: str):
    rows = measurements((1, None, "A"), (1, None, None)).with_columns(
        pl.col("code").cast(pl.Categorical),
        pl.col("time").cast(pl.Datetime(unit)),
        subject_id=pl.lit(1, dtype=pl.UInt32),
    )
    write_shards(tmp_path / "data", {"0": rows.drop("numeric_value"), "1": rows.drop("time")})
    found = summarize(find_dataset(tmp_path))
    assert sorted(found.codes["code"]) == ["(no code)", "A"]
    assert found.time_range is None


def test_unsorted_rows_count_as_sorted_ones(cohort: Preprocessing):
    path = cohort.dataset / "data" / "train" / "0.parquet"
    before = summarize(find_dataset(cohort.dataset))
    pl.read_parquet(path, glob=False).sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    after = summarize(find_dataset(cohort.dataset))
    for count in Count:
        assert_frame_equal(before.counts[count], after.counts[count])


def test_counts_add_up_in_any_order():
    rows = measurements((1, None, "A", 1.0), (2, None, "B"))
    parts = [count_piece("x", rows[:1])[Count.CODES], count_piece("x", rows[1:])[Count.CODES]]
    once = added_up(Count.CODES, parts)
    assert_frame_equal(added_up(Count.CODES, [once, parts[0]]), added_up(Count.CODES, [parts[0], once]))


def test_rows_without_a_subject_are_an_error_that_names_the_file(tmp_path: Path):
    write_shards(tmp_path / "data", {"0": measurements((None, None, "A"))})
    with pytest.raises(ValueError, match="1 row without subject_id") as error:
        summarize(find_dataset(tmp_path))
    assert str(tmp_path / "data" / "0.parquet") in error.value.__notes__[0]
