"""What users have in their tables, in files that the tests make: the right cohort, or one error.

One of each kind runs by the runner, from a pipeline file."""

import bz2
import gzip
import json
import lzma
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib import import_module
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import yaml
from omegaconf import OmegaConf

from helpers import EXTRACTION_STAGES, SCRIPTS, Extraction

ONE_SPLIT = {"split_fracs": {"train": 1, "tuning": None, "held_out": None}}
SETTINGS = {"stage_configs": {"split_and_shard_subjects": ONE_SPLIT}}
CODE = {"code": ["C", "col(c)"], "time": None}
DATED = {"time": "col(t)", "time_format": "%Y-%m-%d"}


class Field(Extraction):
    """An extraction in this process, or by the runner and a pipeline file as users write them."""

    def pipeline(self, settings: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs all stages by the runner."""
        pipeline = {
            "defaults": ["_extract", "_self_"],
            "hydra": {"searchpath": ["pkg://MEDS_transforms.configs"]},
            "input_dir": str(self.raw),
            "cohort_dir": str(self.cohort),
            "event_conversion_config_fp": str(self.event_file),
            "etl_metadata": {"dataset_name": "D", "dataset_version": "1"},
            **settings,
        }
        path = self.folder / "pipeline.yaml"
        path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
        return subprocess.run(
            [SCRIPTS / "MEDS_transform-runner", f"pipeline_config_fp={path}", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def stages(self, settings: dict[str, Any]) -> Iterator[str]:
        """Runs the stages one after the other; gives the name of each before."""
        for stage in EXTRACTION_STAGES:
            yield stage
            import_module(f"MEDS_transforms.extract.{stage}").main(OmegaConf.merge(self.cfg(stage), settings))

    def error_of(self, failing: str, settings: dict[str, Any]) -> str:
        """What this stage says, the first that fails."""
        stages = self.stages(settings)
        while next(stages) != failing:
            pass
        with pytest.raises((ValueError, FileNotFoundError)) as raised:
            next(stages)
        return str(raised.value)

    def measured(self, events, by_runner=False, **settings) -> pl.DataFrame:
        """The measurements of all splits, without columns that are all null."""
        self.events(events)
        settings = {**SETTINGS, **settings}
        if by_runner:
            done = self.pipeline(settings)
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            assert [*self.stages(settings)] == EXTRACTION_STAGES
        data = pl.concat([pl.read_parquet(path) for path in sorted((self.cohort / "data").rglob("*.parquet"))])
        there = (values for values in data if values.name == "code" or values.null_count() < data.height)
        return pl.DataFrame([*there])

    @property
    def described(self) -> dict[str, str]:
        """The descriptions of codes."""
        codes = pl.read_parquet(self.cohort / "metadata" / "codes.parquet")
        return dict(codes.select("code", "description").rows())

    def refused(self, events, *said, stage="shard_events", by_runner=False, **settings):
        """This stage stops with one message that says all this, and there is no cohort.

        `by_runner`: so does the runner, whether it looks at the tables first or not.
        """
        self.events(events)
        settings = {**SETTINGS, **settings}
        if by_runner:
            looked_at = self.pipeline(settings)
            assert looked_at.returncode != 0
            seen = looked_at.stdout + looked_at.stderr
            assert all(re.search(words, seen) for words in said), seen
            done = self.pipeline(settings, "check=False")
            message = done.stdout + done.stderr
            assert done.returncode != 0
            assert "Traceback" not in message
            assert stage in message
        else:
            message = self.error_of(stage, settings)
        for words in said:
            assert re.search(words, message), f"{words}: {message}"
        assert not (self.cohort / "data").exists()


@pytest.fixture
def field(tmp_path) -> Field:
    (tmp_path / "raw").mkdir()
    return Field(tmp_path)


# Rows with too many or too few fields


ROWS = "subject_id,c,note\n" + "".join(f"{i},a,\n" for i in range(1, 400))


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ("400,vitamin B, complex,5\n", 4),
        ("400,a,,\n", 4),
        ("400,a\n", 2),
        ("400,a", 2),
        ("400", 1),
        ('400,"vitamin B, complex"\n', 2),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_row_of_another_number_of_fields_is_an_error(field, last, found, suffix):
    """Whatever columns are in use, here the first two; also of the last row, with or without a line end."""
    field.table(f"meds{suffix}", ROWS + last)
    field.refused(
        {"meds": {"e": CODE}},
        rf"meds\.csv\S*, row 400 .* {found} fields? where the header has 3",
        by_runner=last == "400,a",
    )


def test_fields_in_quotes_are_whole(field):
    field.table("meds.csv", 'subject_id,c,note\n1,"vitamin B, complex","a\n""b"""\n')
    assert field.measured({"meds": {"e": CODE}})["code"].to_list() == ["C//vitamin B, complex"]


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.mark.parametrize("kept", [0.5, 0.999])
@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_that_is_cut_off_is_an_error(field, suffix, kept):
    data = COMPRESS[suffix](("subject_id,c\n" + "".join(f"{i},{i * 7919 % 997}\n" for i in range(5000))).encode())
    field.table(f"meds.csv{suffix}", data[: int(kept * len(data))])
    field.refused(
        {"meds": {"e": CODE}},
        r"meds\.csv\S* cannot be read: .*[Tt]runcated|ended before",
        "Get a new copy",
        by_runner=(suffix, kept) == (".gz", 0.5),
    )


# Codes and numbers


WRITTEN = ["0389", "1.10", "250.00", "1e5", "+7", "-0", "01234", "1234"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt.gz"])
def test_codes_are_as_they_are_written_in_data_and_metadata(field, suffix):
    rows = "".join(f"{i},{code},5\n" for i, code in enumerate(WRITTEN, start=1))
    tabs = suffix == "tsv"
    field.table(f"dx.{suffix}", f"subject_id,c,v\n{rows}".replace(",", "\t" if tabs else ","))
    field.table("d.csv", "c,name\n" + "".join(f"{code},n{code}\n" for code in WRITTEN))
    event = {**CODE, "numeric_value": "v", "text_value": "c", "_metadata": {"d": {"description": "name"}}}
    found = field.measured({"dx": {"e": event}}, by_runner=suffix == "csv")
    assert found["code"].to_list() == [f"C//{code}" for code in WRITTEN]
    assert found["text_value"].to_list() == WRITTEN
    assert field.described == {f"C//{code}": f"n{code}" for code in WRITTEN}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_whole_floats_print_without_a_fraction_in_data_and_metadata(field, suffix):
    """Those of a text file, which say `.0`, stay as they are written on both sides."""
    items = pl.Series([220045.0, 220050.5, None])
    field.table(f"ce.{suffix}", pl.DataFrame({"subject_id": [1, 2, 3], "c": items}))
    metadata = pl.DataFrame({"c": items, "label": ["Heart", "Resp", "none"], "snomed": [168537006.0, None, 1.0]})
    field.table(f"d.{suffix}", metadata)
    described = {"description": "label", "parent_codes": "SNOMED/{snomed}"}
    found = field.measured({"ce": {"e": {**CODE, "_metadata": {"d": described}}}})
    heart = "220045" if suffix == "parquet" else "220045.0"
    assert found["code"].to_list() == [f"C//{heart}", "C//220050.5", "C//UNK"]
    codes = pl.read_parquet(field.cohort / "metadata" / "codes.parquet")
    parents = dict(codes.select("code", "parent_codes").rows())
    whole = "168537006" if suffix == "parquet" else "168537006.0"
    assert (field.described[f"C//{heart}"], parents[f"C//{heart}"]) == ("Heart", [f"SNOMED/{whole}"])
    assert field.described["C//220050.5"] == "Resp"


def test_rows_and_values_that_are_lost_are_counted_and_limits_make_them_errors(field, caplog):
    times = ["2020-01-01", "02.01.2020", "", "NULL"]
    field.table("dx.csv", "subject_id,t,c,v\n" + "".join(f"{i},{t},a,<{i}\n" for i, t in enumerate(times, 1)))
    events = {"dx": {"e": {**CODE, **DATED, "numeric_value": "v"}}}
    assert field.measured(events).height == 1
    assert re.search(r"dx\.e: times that no time_format reads.* 2 of 3 \(67 %\), such as '02\.01\.2020'", caplog.text)
    account = (field.cohort / "metadata" / "accounting" / "convert_to_sharded_events.json").read_text()
    counts = yaml.safe_load(account)["events"]["dx"]["e"]
    assert (counts["rows"], counts["measurements"]) == (4, 1)
    assert (counts["dropped"]["time_null"], counts["dropped"]["time_not_parsed"]) == (1, 2)
    assert (counts["lost"]["numeric_value"], counts["examples"]["numeric_value"]) == (1, ["<1"])


@pytest.mark.parametrize("limit", ["times_not_parsed", "values_lost"])
def test_a_limit_of_what_is_lost(field, limit):
    field.table("dx.csv", "subject_id,t,c,v\n1,2020-01-01,a,<5\n2,x,a,5\n")
    events = {"dx": {"e": {**CODE, **DATED, "numeric_value": "v"}}}
    field.refused(events, r"dx\.e: ", limit, stage="convert_to_sharded_events", limits={limit: 0.1}, by_runner=True)


def test_words_for_null_as_they_are_configured(field):
    field.table("l.csv", "subject_id,t,c,v\n1,2020-01-01,HR,80\n2,NULL,HR,NULL\n3,2020-01-03,NULL,\\N\n")
    words = {"null_values": ["NULL", "\\N"]}
    found = field.measured({**words, "l": {"e": {**CODE, **DATED, "numeric_value": "v", "text_value": "v"}}})
    assert found.select("code", "numeric_value").rows() == [("C//HR", 80), ("C//UNK", None)]
    assert "text_value" not in found.columns


@pytest.mark.parametrize("infinite", ["1e400", "1e39", "inf", "-Infinity"])
def test_no_text_becomes_infinite(field, infinite):
    field.table("t.csv", f'subject_id,c,v\n1,a,"1,5"\n2,a,{infinite}\n3,a,-0\n')
    found = field.measured({"t": {"e": {**CODE, "numeric_value": "v", "text_value": "v"}}})
    assert found.select("numeric_value", "text_value").rows() == [(None, "1,5"), (None, infinite), (0, None)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("spoilt", ["9007199254740993.0", "3.5", "1e300"])
def test_ids_that_are_no_exact_whole_numbers_are_an_error(field, suffix, spoilt):
    """A csv's digits are exact up to 64 bits, even with `.0`; a float beyond 53 bits may be a rounded one."""
    text = f"subject_id,c\n{spoilt},a\n9007199254740992.0,b\n3.0,c\n"
    content = text if suffix == "csv" else pl.read_csv(text.encode(), schema_overrides={"subject_id": pl.Float64})
    field.table(f"t.{suffix}", content)
    stage = "split_and_shard_subjects"
    said = (r"Table t, column subject_id: subject ids must be whole numbers", r"1 of 3|2 of 3")
    if spoilt == "9007199254740993.0" and suffix == "parquet":  # which is read as its even neighbour
        field.events({"t": {"e": CODE}})
        assert field.measured({"t": {"e": CODE}})["subject_id"].n_unique() == 2
    else:
        field.refused({"t": {"e": CODE}}, *said, stage=stage)


@pytest.mark.parametrize(
    ("left", "right", "fits"),
    [
        ((pl.UInt64, 2**60 + 1), (pl.Int64, -1), True),
        ((pl.UInt64, 2**63), (pl.Int64, 1), False),
        ((pl.Int64, 2**53 + 1), (pl.Float64, 0.5), False),
        ((pl.UInt32, 2**31), (pl.Int32, -1), True),
    ],
)
def test_values_of_two_tables_meet_without_loss_or_not_at_all(field, left, right, fits):
    for name, (dtype, value) in {"t": left, "u": right}.items():
        field.table(f"{name}.parquet", pl.DataFrame({"subject_id": [1], "x": pl.Series([value], dtype=dtype)}))
    events = {name: {"e": {"code": name, "time": None, "x": "x"}} for name in "tu"}
    if fits:
        assert field.measured(events)["x"].to_list() == [left[1], right[1]]
    else:
        field.refused(events, "'x' has incompatible dtypes", str(left[1]), stage="merge_to_MEDS_cohort", by_runner=True)


def test_integers_of_128_bits(field):
    values = pl.Series([2**100, 3], dtype=pl.Int128)
    field.table("t.parquet", pl.DataFrame({"subject_id": [1, 2], "c": values, "v": values}))
    found = field.measured({"t": {"e": {**CODE, "numeric_value": "v", "text_value": "v"}}})
    assert found["code"].to_list() == [f"C//{2**100}", "C//3"]
    assert found["numeric_value"].to_list() == [float(2**100), 3]


# Times


def test_names_of_zones_are_refused_and_offsets_converted(field):
    field.table("t.csv", "subject_id,t,c\n1,2020-01-01 00:00:00 -0500,a\n2,2020-01-01 00:00:00 +0000,a\n")
    event = {**CODE, "time": "col(t)", "time_format": "%Y-%m-%d %H:%M:%S %Z"}
    field.refused({"t": {"e": event}}, r"t\.e\.time_format.*without %Z.*time_zone")
    found = field.measured({"t": {"e": {**event, "time_format": "%Y-%m-%d %H:%M:%S %z"}}})
    assert found["time"].to_list() == [datetime(2020, 1, 1, 5), datetime(2020, 1, 1)]


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("us"), pl.Date()])
def test_a_time_that_is_too_far_away_is_an_error(field, dtype):
    far = pl.Series([0, 2**30 if dtype == pl.Date else 2**63 - 1]).cast(pl.Int32 if dtype == pl.Date else pl.Int64)
    field.table("t.parquet", pl.DataFrame({"subject_id": [1, 2], "t": far.cast(dtype), "c": ["a", "b"]}))
    said = r"t\.e\.time: in the table t, the column 't', row 2: .*beyond the years"
    field.refused(
        {"t": {"e": {**CODE, "time": "col(t)"}}},
        said,
        stage="convert_to_sharded_events",
        by_runner=dtype == pl.Datetime("ms"),
    )


# Names


NAMES = ["__row", "__shard", "__event", "__subject_id", "^a|b$", "*", "subject_id", "code", "{a}", ""]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_any_column_name_works_literally(field, suffix):
    columns = {name: [f"{i}a", f"{i}b"] for i, name in enumerate(NAMES)}
    field.table(f"t.{suffix}", pl.DataFrame({"mrn": [1, 2], "a": ["A", "A"], "b": ["B", "B"], **columns}))
    event = {"code": ["C", *(f"col({name})" for name in NAMES)], "time": None}
    event |= {f"out {name}": name for name in NAMES} | {"^a|b$": "^a|b$", "__shard": "__shard", "x__y": "__subject_id"}
    found = field.measured({"subject_id_col": "mrn", "t": {"e": event}}, by_runner=suffix == "csv")
    assert found["code"].to_list() == ["//".join(["C", *(values[i] for values in columns.values())]) for i in (0, 1)]
    assert all(found.get_column(f"out {name}").to_list() == values for name, values in columns.items())
    assert found.get_column("^a|b$").to_list() == columns["^a|b$"]
    assert found.get_column("x__y").to_list() == columns["__subject_id"]


@pytest.mark.parametrize("name", ["/absolute", "../m", "a/../../m", ".hidden", "a//m", ""])
def test_names_of_tables_stay_below_the_input_and_the_cohort(field, name):
    """Of a table, of one that describes codes, and of one that is joined."""
    outside = field.table("m.parquet", pl.DataFrame({"c": ["a"], "d": ["x"]}))
    before = outside.read_bytes()
    field.table("t.csv", "subject_id,c\n1,a\n")
    name = str(outside.with_suffix("")) if name == "/absolute" else name
    described = {"t": {"e": {**CODE, "_metadata": {name: {"description": "d"}}}}}
    joined = {"t": {"join": {"table": name, "on": "c", "columns": ["d"]}, "e": CODE}}
    for events in (described, joined, {name: {"e": CODE}}):
        field.refused(events, "name", re.escape(repr(name)))
    assert outside.read_bytes() == before


@pytest.mark.parametrize("name", ["/absolute", "../../../x", "a/../b", ".hidden", ""])
def test_names_of_splits_stay_below_the_cohort(field, name):
    field.table("t.csv", "subject_id,c\n1,a\n2,b\n")
    splits = field.folder / "splits.json"
    splits.write_text(json.dumps({name: [1], "train": [2]}))
    said = ("split", re.escape(repr(name)))
    external = {"split_and_shard_subjects": {**ONE_SPLIT, "external_splits_json_fp": str(splits)}}
    stage = "split_and_shard_subjects"
    field.refused({"t": {"e": CODE}}, *said, stage=stage, by_runner=name.startswith(".."), stage_configs=external)


@pytest.mark.parametrize("code", ["$gender", 'f"GENDER//{$gender}"'])
def test_the_newer_language_is_read_and_never_a_literal_code(field, code):
    field.table("pbd.parquet", pl.DataFrame({"person_id": [1, 2], "gender": ["F", "M"]}))
    newer = {"_defaults": {"subject_id": "$person_id"}, "pbd": {"gender": {"code": code, "time": None}}}
    prefix = "GENDER//" if "//" in code else ""
    assert field.measured(newer)["code"].to_list() == [f"{prefix}F", f"{prefix}M"]


def test_mixed_with_this_language_it_is_an_error(field):
    field.table("pbd.parquet", pl.DataFrame({"person_id": [1, 2], "gender": ["F", "M"]}))
    event = {"code": "$gender", "time": None}
    other = {"code": ["A", "col(gender)"], "time": None}
    field.refused({"subject_id_col": "person_id", "pbd": {"gender": event, "other": other}}, r"pbd\.\w+\.code")


# Files


FRAME = pl.DataFrame({"subject_id": [1, 2], "c": ["01", "2"]})
PLAIN: dict[str, Callable[[pl.DataFrame], bytes]] = {
    ".csv": lambda df: df.write_csv().encode(),
    ".tsv": lambda df: df.write_csv(separator="\t").encode(),
    ".txt": lambda df: df.write_csv().encode(),
}
LONGER = {**COMPRESS, ".gzip": COMPRESS[".gz"], ".zstd": COMPRESS[".zst"]}
BINARY = {
    **dict.fromkeys((".parquet", ".par", ".pq", ".parq"), pl.DataFrame.write_parquet),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), pl.DataFrame.write_ipc),
}
SUFFIXES = [*BINARY, *PLAIN, *(f"{plain}{suffix}" for plain in PLAIN for suffix in LONGER)]


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_every_suffix_in_any_case(field, spelling):
    """A table of each, in one extraction."""
    for i, suffix in enumerate(SUFFIXES):
        path = field.raw / f"t{i}{spelling(suffix)}"
        if suffix in BINARY:
            BINARY[suffix](FRAME, path)
            continue
        plain, compression = suffix[:4], suffix[4:]
        path.write_bytes(LONGER.get(compression, bytes)(PLAIN[plain](FRAME)))
    events = {f"t{i}": {"e": {"code": [suffix, "col(c)"], "time": None}} for i, suffix in enumerate(SUFFIXES)}
    found = field.measured(events)
    assert sorted(found["code"]) == sorted(f"{suffix}//{code}" for suffix in SUFFIXES for code in FRAME["c"])


@pytest.mark.parametrize("name", ["t.xlsx", "t.json", "t.csv.zip"])
def test_a_suffix_that_is_not_read_is_named(field, name):
    field.table(name, b"x")
    field.table("u.csv", FRAME)
    field.refused({"t": {"e": CODE}, "u": {"e": CODE}}, "no table t", re.escape(name), r"\.parquet.*\.csv.*\.zst")


@pytest.mark.parametrize(
    "folder", ["labs", "labs.parquet", "labs.csv", "labs/year=2020", "labs.parquet/year=2020/month=01"]
)
@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
def test_a_folder_of_parts_is_a_table_in_the_order_of_its_names(field, folder, suffix):
    for n in (2, 10, 0, 1):
        field.table(f"{folder}/part-{n:05}.{suffix}", pl.DataFrame({"subject_id": [1], "c": [f"p{n}"]}))
    field.table(f"{folder.split('/')[0]}/_SUCCESS", b"")
    hive = [name.partition("=") for name in folder.split("/")[1:]]
    event = {"code": ["C", "col(c)", *(f"col({name})" for name, _, _ in hive)], "time": None}
    found = field.measured({"labs": {"e": event}})
    values = "".join(f"//{value}" for _, _, value in hive)
    assert found["code"].to_list() == [f"C//p{n}{values}" for n in (0, 1, 2, 10)]


@pytest.mark.parametrize("content", [None, b"", "subject_id,c\n"], ids=["missing", "no bytes", "no rows"])
def test_an_optional_table_may_be_missing_or_empty(field, content, caplog):
    field.table("person.csv", FRAME)
    if content is not None:
        field.table("device.csv", content)
    events = {"person": {"e": CODE}, "device": {"optional": True, "e": CODE}}
    assert field.measured(events)["code"].to_list() == ["C//01", "C//2"]
    assert re.search(r"device: there is no such table, or it is empty|device: 0 rows", caplog.text)


def test_without_that_it_is_an_error(field):
    field.table("person.csv", FRAME)
    field.refused({"person": {"e": CODE}, "device": {"e": CODE}}, "no table device", "Tables there: person")
