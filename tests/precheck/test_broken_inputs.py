"""Inputs that are broken in one way each: what is wrong is found before anything runs, with its place and a remedy."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl
import pytest

from helpers import files_below, write_table
from MEDS_transforms.remarks import Remark
from MEDS_transforms.work.files import try_lock

from .broken import Break, Dataset, Raw, as_gzip, labs, numbered, patients, replaced

ERROR, WARNING, NOTE = "error", "warning", "note"
SPLIT = "split_and_shard_subjects"


class Case(NamedTuple):
    """How an input is broken, and what must be said: how severe, which kind, words of the place and of the remedy."""

    name: str
    broken: Break
    severity: str
    kind: str
    place: str
    remedy: str


def table(name: str, content: Any) -> Break:
    return lambda x: x.table(name, content) and None


def first(column: str, *values: Any) -> Break:
    return lambda x: x.first(column, *values)


def labs_with(**columns: Any) -> Break:
    return lambda x: x.labs_with(**columns)


def event(**lab: Any) -> Break:
    return lambda x: x.events_with(**lab) and None


def table_block(**keys: Any) -> Break:
    return lambda x: x.events_with(table=keys)


def block(stage: str, **keys: Any) -> Break:
    return lambda x: x.write_pipeline(**{stage: keys})


def args(*given: str) -> Break:
    return lambda _: given


def file(name: str, content: str, *given: str) -> Break:
    """Writes a file beside the pipeline; `{folder}` in arguments stands for that folder."""

    def change(x: Any) -> list[str]:
        (x.folder / name).write_text(content)
        return [arg.format(folder=x.folder) for arg in given]

    return change


def parquet(**columns: Any) -> Break:
    """The laboratory values as parquet."""

    def change(x: Raw) -> None:
        (x.raw / "labs.csv").unlink()
        x.table("labs.parquet", labs().with_columns(**columns))

    return change


def cut_parquet(x: Raw) -> None:
    parquet()(x)
    path = x.raw / "labs.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def all_null_ids(x: Raw) -> None:
    for name, frame in {"labs": labs(), "patients": patients()}.items():
        x.table(f"{name}.csv", frame.with_columns(subject_id=pl.lit(None, pl.String)))


def few_subjects(x: Raw) -> None:
    x.table("patients.csv", patients().head(2))
    x.table("labs.csv", labs().filter(pl.col("subject_id") < 3))


def external_table(text: str) -> Break:
    return file("splits.csv", text, f"stage_configs.{SPLIT}.external_splits_fp={{folder}}/splits.csv")


def external(content: Any, text: str | None = None) -> Break:
    return file(
        "splits.json",
        json.dumps(content) if text is None else text,
        f"stage_configs.{SPLIT}.external_splits_json_fp={{folder}}/splits.json",
    )


def done(*further: Callable[[Any], Any], until: str = "shard_events") -> Break:
    """Runs stages, and changes something then."""

    def change(x: Raw) -> list[str]:
        x.run_until(until, "etl_metadata.dataset_version='1'")
        return [arg for one in further for arg in one(x) or ()]

    return change


def foreign_file(x: Raw) -> None:
    write_table(x.cohort / "shard_events" / "labs" / "mine.parquet", labs().head(5))


def day_first(*formats: str) -> Break:
    """Dates whose days are all up to the 12th, since days and months were swapped; read by these formats."""
    days = [f"{n % 12 + 1:02}/{n // 12 + 1:02}/2020" for n in range(labs().height)]
    return lambda x: (x.labs_with(taken=pl.Series(days)), x.events_with(time_format=[*formats]))[2:]


def no_tables(x: Raw) -> list[str]:
    (x.folder / "empty").mkdir()
    return [f"input_dir={x.folder / 'empty'}"]


def other_subjects(x: Raw) -> None:
    x.labs_with(subject_id=pl.col("subject_id") + 1000)


def zeros(table: pl.DataFrame) -> pl.DataFrame:
    """The table with ids of four digits."""
    return table.with_columns(pl.col("subject_id").cast(pl.String).str.zfill(4))


def lines(*rows: str) -> str:
    return "\n".join([labs().write_csv().rstrip(), *rows, ""])


COLON = "subject_id;test;taken;value\n1;HB;2020-01-01 08:00;7\n"
UMLAUT = lines("3,Hämoglobin,2020-01-01 08:00,7")
LATIN = UMLAUT.encode("latin-1")


def encoded(text: str, encoding: str, given: str) -> Break:
    """The laboratory values in an encoding, while the event file names another."""
    return lambda x: (x.table("labs.csv", text.encode(encoding)), x.events_with(table={"encoding": given}))[2:]


EXTRACTION = [
    Case("a table is missing", replaced("lab.csv", lines()), ERROR, "missing", "labs", "did you mean 'lab'"),
    Case("there are no tables", no_tables, ERROR, "missing", "labs", "Tables there"),
    Case("there is no input folder", args("input_dir=/nowhere"), ERROR, "input_dir", "input_dir", "Correct input_dir"),
    Case("a table has no bytes", table("labs.csv", ""), ERROR, "unusable", "labs", "optional: true"),
    Case("a table has no rows", table("labs.csv", labs().head(0)), ERROR, "empty_table", "labs", "optional: true"),
    Case("gzip is cut off", replaced("labs.csv.gz", as_gzip(labs())[:-200]), ERROR, "unusable", "labs", "new copy"),
    Case("gzip is none", replaced("labs.csv.gz", lines()), ERROR, "unusable", "labs", "new copy"),
    Case("parquet is cut off", cut_parquet, ERROR, "unusable", "labs.parquet", "new copy"),
    Case("another encoding", table("labs.csv", LATIN), ERROR, "unreadable", "labs.csv", "encoding: cp1252"),
    Case(
        "UTF-8 is read as another encoding",
        encoded(UMLAUT, "utf-8", "cp1252"),
        WARNING,
        "logged",
        "labs.encoding: ",
        "read as cp1252, so that 'Hämoglobin' becomes 'HÃ¤moglobin'. Set encoding: utf-8",
    ),
    Case(
        "the mark of UTF-8 in another encoding",
        encoded(UMLAUT, "utf-8-sig", "cp1252"),
        ERROR,
        "unusable",
        "labs.csv begins with the mark of UTF-8, but is to be read as cp1252",
        "Set encoding: utf-8 in",
    ),
    *(
        Case(
            f"UTF-{bits} is read as {given}",
            encoded(UMLAUT, f"utf-{bits}", given),
            ERROR,
            "unusable",
            f"labs.csv begins with the mark of UTF-{bits}, but is to be read as {given}",
            f"Set encoding: utf-{bits} in",
        )
        for bits, given in [(16, "utf-8"), (16, "cp1252"), (32, "utf-16")]
    ),
    Case("another separator", table("labs.csv", COLON), ERROR, "unusable", "labs.lab", "separator"),
    Case("a row is too short", table("labs.csv", lines("1,HB")), ERROR, "unreadable", "row 121", "correct the row"),
    Case("a row is too long", table("labs.csv", lines("1,H,B,C,D")), ERROR, "unreadable", "row 121", "correct the row"),
    Case("a quote stays open", table("labs.csv", lines('1,"HB,,')), ERROR, "unreadable", "labs", "quote"),
    Case(
        "a name repeats",
        replaced("labs.csv", "subject_id,test,taken,value,value\n1,HB,2020-01-01 08:00,7,8\n"),
        WARNING,
        "logged",
        "labs",
        "the first is read",
    ),
    Case(
        "no column of values",
        event(numeric_value="valeu"),
        ERROR,
        "unusable",
        "labs.lab.numeric_value",
        "did you mean 'value'",
    ),
    Case("no column of times", event(time="col(at)"), ERROR, "unusable", "labs.lab.time", "It has: subject_id"),
    Case(
        "no column of the code",
        event(code=["LAB", "col(tset)"]),
        ERROR,
        "unusable",
        "labs.lab.code",
        "did you mean 'test'",
    ),
    Case(
        "no column of ids",
        table_block(subject_id_col="patient"),
        ERROR,
        "unusable",
        "labs.subject_id_col",
        "It has: subject_id",
    ),
    Case(
        "a column to choose by is missing",
        event(where={"valu": "7.5"}),
        ERROR,
        "unusable",
        "labs.lab.where",
        "did you mean 'value'",
    ),
    Case(
        "times are booleans", parquet(taken=pl.lit(True)), ERROR, "unusable", "labs.lab.time", "Name a column of dates"
    ),
    Case(
        "ids are booleans", parquet(subject_id=pl.lit(True)), ERROR, "unusable", "column subject_id", "must be integers"
    ),
    Case(
        "values are lists",
        parquet(value=pl.concat_list("value")),
        ERROR,
        "unusable",
        "labs.lab.numeric_value",
        "must be a number",
    ),
    Case("times without a format", event(time_format=None), ERROR, "unusable", "labs.lab.time", "Give a time_format"),
    Case("no time parses", event(time_format="%d.%m.%Y"), ERROR, "times_not_parsed", "labs.lab.time", "they look like"),
    Case(
        "some times do not parse",
        first("taken", "yesterday", "2020"),
        WARNING,
        "times_not_parsed",
        "labs.lab",
        "Add a format",
    ),
    Case("days and months are swapped", day_first("%m/%d/%Y"), WARNING, "day_month", "labs.lab", "Check %d and %m"),
    Case(
        "two formats read days and months",
        day_first("%m/%d/%Y", "%d/%m/%Y"),
        WARNING,
        "day_month",
        "labs.lab",
        "Keep one order",
    ),
    Case(
        "a time in the future",
        first("taken", "2919-01-01 00:00"),
        WARNING,
        "time_future",
        "labs.lab.time",
        "Check time_format",
    ),
    Case(
        "a time long ago",
        first("taken", "0202-01-01 00:00"),
        WARNING,
        "time_long_ago",
        "labs.lab.time",
        "Check time_format",
    ),
    Case(
        "all times are null",
        labs_with(taken=pl.lit(None, pl.String)),
        WARNING,
        "events_without_measurements",
        "labs.lab",
        "Check the columns",
    ),
    Case(
        "a time beyond all years",
        parquet(taken=pl.lit(2**62).cast(pl.Datetime("ms"))),
        ERROR,
        "events",
        "labs.lab.time",
        "Correct the table",
    ),
    Case(
        "some ids are null",
        first("subject_id", None, None, None),
        WARNING,
        "ids_null",
        "labs.subject_id",
        "Check subject_id_col",
    ),
    Case("all ids are null", all_null_ids, ERROR, "splits", SPLIT, "Check subject_id_col"),
    Case("ids are text", first("subject_id", "P1"), ERROR, "ids", "labs.subject_id", "subject_ids in the event"),
    Case(
        "an id is negative", first("subject_id", "-7"), WARNING, "ids_negative", "labs.subject_id", "remove their rows"
    ),
    Case(
        "an id has too many bits",
        first("subject_id", str(2**64)),
        ERROR,
        "ids",
        "labs.subject_id",
        "subject_ids in the event",
    ),
    Case(
        "leading zeros merge ids",
        first("subject_id", "007"),
        WARNING,
        "ids_merged",
        "labs.subject_id",
        "subject_ids: hash",
    ),
    Case(
        "ids have leading zeros", first("subject_id", "0777"), NOTE, "ids_zeros", "labs.subject_id", "subject_ids: hash"
    ),
    Case(
        "ids of two tables have leading zeros",
        lambda x: (x.first("subject_id", "0777"), x.table("patients.csv", zeros(patients())))[2:],
        NOTE,
        "ids_zeros",
        "patients.subject_id, labs.subject_id: subject ids have leading zeros",
        "subject_ids: hash",
    ),
    Case("an id is no whole number", first("subject_id", "1.5"), ERROR, "ids", "labs.subject_id", "Correct them"),
    Case("floats round ids", parquet(subject_id=pl.lit(2.0**60)), ERROR, "ids", "labs.subject_id", "Correct them"),
    Case(
        "ids are floats",
        parquet(subject_id=pl.col("subject_id").cast(pl.Float64)),
        NOTE,
        "ids_float",
        "labs.subject_id",
        "Write them as integers",
    ),
    Case("values with a sign", first("value", "<5", ">100"), WARNING, "values_lost", "labs.lab", "numbers: lenient"),
    Case("values with a comma", first("value", "7,9"), WARNING, "values_lost", "labs.lab", "decimal: ','"),
    Case(
        "no value is a number",
        labs_with(value=pl.col("value").str.replace(".", ",", literal=True)),
        WARNING,
        "no_numbers",
        "labs.lab.numeric_value: none of 120 values of 'value' is a number, such as '0,5'",
        "Set decimal: ',' in the block of the table",
    ),
    Case(
        "numbers with units",
        lambda x: (x.labs_with(value=pl.col("value") + " mg/l"), x.events_with(text_value="value"))[2:],
        WARNING,
        "no_numbers",
        "labs.lab.numeric_value: none of 120 values of 'value' is a number, such as '0.5 mg/l'",
        "Use text_value",
    ),
    Case(
        "most values are below a limit",
        first("value", *["<5"] * 61),
        WARNING,
        "no_numbers",
        "labs.lab.numeric_value: 61 of 120 (51 %) of the values of 'value' are no numbers, such as '<5'",
        "Set numbers: lenient",
    ),
    Case("values that are words", first("value", "positive"), NOTE, "values_lost", "labs.lab", "add text_value"),
    Case(
        "codes are null",
        lambda x: (x.labs_with(test=pl.lit(None, pl.String)), x.events_with(code="col(test)"))[2:],
        WARNING,
        "events_without_measurements",
        "labs.lab",
        "Check the columns",
    ),
    Case(
        "the code is always the same",
        labs_with(test=pl.lit("HB")),
        WARNING,
        "one_code",
        "labs.lab",
        "Check the columns of the code",
    ),
    Case(
        "no row is chosen",
        event(where={"test": "Hb"}),
        WARNING,
        "events_without_measurements",
        "labs.lab",
        "Check the columns",
    ),
    Case(
        "a table of other subjects", other_subjects, WARNING, "subjects_apart", "labs.subject_id", "another kind of id"
    ),
    Case(
        "a column is taken for text", event(code=["LAB", "test"]), WARNING, "logged", "labs.lab.code", "Write col(test)"
    ),
    Case(
        "a limit is exceeded",
        lambda x: (x.first("taken", "x"), ["limits.times_not_parsed=0"])[1],
        ERROR,
        "times_not_parsed",
        "labs.lab",
        "Add a format",
    ),
    Case(
        "no table to join",
        table_block(join={"table": "units", "on": "test", "columns": ["unit"]}),
        ERROR,
        "missing",
        "units",
        "Tables there",
    ),
    Case(
        "no column to join on",
        table_block(join={"table": "d_labs", "on": "tests", "columns": ["label"]}),
        ERROR,
        "unusable",
        "labs.csv",
        "did you mean 'test'",
    ),
    Case(
        "an encoding that is none",
        table_block(encoding="utf-7000"),
        ERROR,
        "unusable",
        "labs.encoding",
        "known are utf-8",
    ),
    Case(
        "a time zone that is none",
        table_block(time_zone="Mars/North"),
        ERROR,
        "unusable",
        "labs.time_zone",
        "Write it as in",
    ),
    Case("an expression that is none", event(where="test = "), ERROR, "unusable", "labs.lab.where", ""),
    Case(
        "the code is misspelt",
        event(code=None, cod=["LAB", "col(test)"]),
        ERROR,
        "unusable",
        "labs.lab.code: is missing",
        "there is 'cod'; did you mean 'code'?",
    ),
    Case(
        "a misspelt key of an event",
        event(time_format=None, time_fromat="%Y"),
        ERROR,
        "unusable",
        "labs.lab.time",
        "did you mean 'time_format'",
    ),
    Case(
        "no event file",
        args("event_conversion_config_fp=nope.yaml"),
        ERROR,
        "missing",
        "nope.yaml",
        "Set event_conversion_config_fp",
    ),
    Case(
        "the event file is no YAML",
        file(
            "events.yaml",
            "labs: {lab: [",
        ),
        ERROR,
        "unusable",
        "events.yaml",
        "",
    ),
    Case("the event file names no table", file("events.yaml", "{}"), ERROR, "unusable", "event", ""),
    Case(
        "no table of codes",
        event(_metadata={"d_lab": {"description": "label"}}),
        ERROR,
        "missing",
        "d_lab",
        "did you mean 'd_labs'",
    ),
    Case(
        "no such column of codes",
        event(_metadata={"d_labs": {"description": "lable"}}),
        ERROR,
        "unusable",
        "labs.lab._metadata.d_labs",
        "did you mean 'label'",
    ),
    Case(
        "no code is described",
        table("d_labs.csv", "test,label\nhb,hemoglobin\n"),
        WARNING,
        "metadata_without_match",
        "labs.lab._metadata.d_labs",
        "Map the parts",
    ),
    Case(
        "codes have several rows",
        table("d_labs.csv", "test,label\nHB,a\nHB,b\n"),
        NOTE,
        "metadata_repeated",
        "d_labs",
        "Descriptions are joined",
    ),
    Case(
        "fractions do not sum to 1",
        block(SPLIT, split_fracs={"train": 0.5, "tuning": None, "held_out": None}),
        ERROR,
        "unusable",
        "split_fracs",
        "must sum to 1",
    ),
    Case(
        "a fraction is negative",
        block(SPLIT, split_fracs={"train": -1}),
        ERROR,
        "configuration",
        f"{SPLIT}.split_fracs",
        "",
    ),
    Case("too few subjects", few_subjects, ERROR, "splits", SPLIT, "Drop a split"),
    Case(
        "no external splits",
        block(SPLIT, external_splits_json_fp="nope.json"),
        ERROR,
        "missing",
        "nope.json",
        "Check the path",
    ),
    Case("external splits of text", external({"train": ["a"]}), ERROR, "unusable", "splits.json", "list of integers"),
    Case("external splits are no JSON", external(None, "{"), ERROR, "unusable", "splits.json", "must be a JSON object"),
    Case(
        "a table of external splits with a subject in two",
        external_table("subject_id,split\n1,mine\n1,yours\n"),
        ERROR,
        "unusable",
        "splits.csv",
        "Keep one for each subject",
    ),
    Case(
        "a table of external splits of other subjects",
        external_table("subject_id,split\n1,mine\n4711,mine\n"),
        WARNING,
        "splits_unknown",
        f"{SPLIT}.external_splits_fp",
        "of these data",
    ),
    Case(
        "external splits of other subjects",
        external({"mine": [1, 4711]}),
        WARNING,
        "splits_unknown",
        SPLIT,
        "of these data",
    ),
    Case(
        "a subject in two splits", external({"mine": [1, 2], "yours": [2]}), WARNING, "splits_twice", SPLIT, "one split"
    ),
    Case(
        "a split without subjects", external({"mine": [1, 2], "yours": []}), WARNING, "splits_empty", SPLIT, "fill it"
    ),
    Case(
        "no name of the dataset",
        args("etl_metadata.dataset_name=null"),
        ERROR,
        "unusable",
        "etl_metadata.dataset_name",
        "Give it in the pipeline file",
    ),
    *(
        Case(
            f"a misspelt key of the pipeline{', strictly' * strict}: {key}",
            lambda x, key=key, strict=strict: (
                x.write_pipeline(f"\n{key}: {{}}\n"),
                [f"strict={strict}"],
            )[1],
            ERROR if strict else WARNING,
            "configuration",
            f"{key}",
            f"did you mean '{known}'",
        )
        for key, known in [("stage_config", "stage_configs"), ("strct", "strict"), ("etl_metdata", "etl_metadata")]
        for strict in (False, True)
    ),
    Case(
        "a key that nothing knows, strictly",
        lambda x: (x.write_pipeline("\nfavourite: blue\n"), ["strict=true"])[1],
        ERROR,
        "configuration",
        "favourite",
        "no packaged stage knows a setting 'favourite'",
    ),
    Case(
        "a misspelt key of a stage",
        block("shard_events", row_chunksiez=5),
        WARNING,
        "configuration",
        "row_chunksiez",
        "did you mean 'row_chunksize'",
    ),
    Case(
        "the same, strictly",
        lambda x: (block("shard_events", row_chunksiez=5)(x), ["strict=true"])[1],
        ERROR,
        "configuration",
        "row_chunksiez",
        "did you mean 'row_chunksize'",
    ),
    Case(
        "a value of another type",
        block("shard_events", row_chunksize="many"),
        ERROR,
        "configuration",
        "shard_events.row_chunksize",
        "must be a whole number",
    ),
    Case(
        "no such stage",
        args("stages=[shard_events,divide_subjects]"),
        ERROR,
        "configuration",
        "divide_subjects",
        "Name one in stage_configs",
    ),
    Case(
        "a stage is there twice", args("stages=[shard_events,shard_events]"), ERROR, "configuration", "stages", "unique"
    ),
    Case(
        "a script that is not there",
        block("shard_events", _script="nothing_like_it"),
        ERROR,
        "configuration",
        "shard_events",
        "not found",
    ),
    Case("an unknown setting", args("sed=3"), ERROR, "configuration", "sed", "did you mean 'seed'"),
    Case(
        "no pipeline",
        lambda x: x.pipeline_fp.unlink(),
        ERROR,
        "configuration",
        "pipeline.yaml",
        "Check pipeline_config_fp",
    ),
    Case("the pipeline is no YAML", file("pipeline.yaml", "a: ["), ERROR, "configuration", "pipeline.yaml", ""),
    Case("no stage-runner file", args("stage_runner_fp=nope.yaml"), ERROR, "configuration", "nope.yaml", ""),
    Case(
        "an unknown launcher",
        file("runner.yaml", "parallelize: {n_workers: 2, launcher: rocket}", "stage_runner_fp={folder}/runner.yaml"),
        ERROR,
        "configuration",
        "launcher",
        "",
    ),
    Case(
        "workers without a launcher",
        file("runner.yaml", "parallelize: {n_workers: 2}", "stage_runner_fp={folder}/runner.yaml"),
        WARNING,
        "configuration",
        "stage-runner file",
        "Add `launcher",
    ),
    Case(
        "one folder for both",
        lambda x: [f"cohort_dir={x.raw}"],
        ERROR,
        "configuration",
        "cohort_dir",
        "a folder of its own",
    ),
    Case("the cohort is a file", file("cohort", ""), ERROR, "cohort_dir", "cohort_dir", "another cohort_dir"),
    Case(
        "the cohort lies in the data",
        lambda x: [f"cohort_dir={x.raw}/data"],
        ERROR,
        "configuration",
        "cohort_dir",
        "Move one of them",
    ),
    Case(
        "chunks of other settings",
        done(event(numeric_value=None)),
        ERROR,
        "stale_outputs",
        "shard_events",
        "do_overwrite=True",
    ),
    Case(
        "chunks of another table",
        done(table("labs.csv", labs().head(90))),
        ERROR,
        "stale_outputs",
        "shard_events",
        "keep_existing=True",
    ),
    Case(
        "a split of another seed", done(args("seed=7"), until=SPLIT), ERROR, "stale_outputs", SPLIT, "do_overwrite=True"
    ),
    Case("a file that no stage made", done(foreign_file), ERROR, "stale_outputs", "shard_events", ""),
]


def dataset_of(*stages: str, **stage_configs: Any) -> Break:
    return lambda x: x.write_pipeline([*stages], **stage_configs)


def shard(**columns: Any) -> Break:
    return lambda x: x.shard(numbered(1).with_columns(**columns))


def without(column: str) -> Break:
    return lambda x: x.shard(numbered(1).drop(column))


def cut_shard(x: Dataset) -> None:
    path = x.dataset / "data" / "train" / "0.parquet"
    path.write_bytes(path.read_bytes()[:-50])


def no_splits(x: Dataset) -> None:
    """Shards that are not named after splits, and no file of splits."""
    (x.dataset / "data" / "train").rename(x.dataset / "data" / "some")
    (x.dataset / "data" / "tuning").rename(x.dataset / "data" / "others")
    (x.dataset / "metadata" / "subject_splits.parquet").unlink()
    x.write_pipeline(["fit_normalization"])


def splits(**columns: Any) -> Break:
    return lambda x: write_table(x.dataset / "metadata" / "subject_splits.parquet", pl.DataFrame(columns)) and None


def shuffled(x: Dataset) -> None:
    x.shard(numbered(1).reverse())


TENSORS = ["fit_normalization", "fit_vocabulary_indices", "normalization", "tokenization", "tensorization"]

PREPROCESSING = [
    Case("there is no dataset", args("input_dir=/nowhere"), ERROR, "input_dir", "input_dir", "Correct input_dir"),
    Case(
        "there are no shards",
        lambda x: (x.dataset / "data").rename(x.dataset / "other") and None,
        ERROR,
        "missing",
        "data",
        "correct input_dir",
    ),
    Case("a shard is cut off", cut_shard, ERROR, "unreadable", "train/0.parquet", "Get a new copy"),
    Case("no codes", without("code"), ERROR, "meds_schema", "code", ""),
    Case("no subjects", without("subject_id"), ERROR, "meds_schema", "subject_id", ""),
    Case("times are text", shard(time=pl.lit("2020")), ERROR, "meds_schema", "time", "must be a Datetime"),
    Case(
        "values are text", shard(numeric_value=pl.lit("7")), ERROR, "meds_schema", "numeric_value", "must be a number"
    ),
    Case(
        "codes are null",
        shard(code=pl.lit(None, pl.String)),
        WARNING,
        "code_null",
        "train/0.parquet",
        "Correct the data",
    ),
    Case(
        "subjects are null",
        shard(subject_id=pl.lit(None, pl.Int64)),
        ERROR,
        "ids_null",
        "train/0.parquet",
        "Correct the data",
    ),
    Case("rows are not sorted", shuffled, WARNING, "unsorted", "train/0.parquet", "Sort the shards"),
    Case(
        "no rows",
        lambda x: (x.shard(numbered(1).head(0)), write_table(x.dataset / "data/tuning/0.parquet", numbered(1).head(0)))[
            2:
        ],
        WARNING,
        "empty_table",
        "data",
        "Check input_dir",
    ),
    Case(
        "codes are numbers already",
        lambda x: (x.shard(numbered(1).with_columns(code=pl.lit(1))), x.write_pipeline(["normalization"]))[2:],
        ERROR,
        "stage_order",
        "normalization",
        "",
    ),
    Case(
        "tensors without tokens",
        dataset_of(*TENSORS[:3], "tensorization"),
        ERROR,
        "stage_order",
        "tensorization",
        "normalization and tokenization before it",
    ),
    Case(
        "tensors of words",
        dataset_of("tokenization", "tensorization"),
        ERROR,
        "stage_order",
        "tensorization",
        "fit_vocabulary_indices",
    ),
    Case(
        "measurements are wanted after tokens",
        dataset_of("tokenization", "normalization"),
        ERROR,
        "stage_order",
        "normalization",
        "",
    ),
    Case(
        "no vocabulary",
        dataset_of("fit_normalization", "normalization"),
        ERROR,
        "stage_order",
        "normalization",
        "fit_vocabulary_indices",
    ),
    Case(
        "no statistics",
        dataset_of("fit_vocabulary_indices", "normalization"),
        ERROR,
        "stage_order",
        "normalization",
        "fit_normalization",
    ),
    Case("no statistics of outliers", dataset_of("occlude_outliers"), ERROR, "stage_order", "occlude_outliers", ""),
    Case(
        "no counts",
        dataset_of("filter_measurements", filter_measurements={"min_subjects_per_code": 2}),
        ERROR,
        "stage_order",
        "filter_measurements",
        "code/n_subjects",
    ),
    Case(
        "no counts for a vocabulary",
        dataset_of(
            "fit_outlier_detection", "fit_vocabulary_indices", fit_vocabulary_indices={"ordering_method": "frequency"}
        ),
        ERROR,
        "stage_order",
        "fit_vocabulary_indices",
        "Run count_code_occurrences",
    ),
    Case(
        "no code metadata for a vocabulary",
        lambda x: ((x.dataset / "metadata/codes.parquet").unlink(), x.write_pipeline(["fit_vocabulary_indices"]))[2:],
        ERROR,
        "stage_order",
        "fit_vocabulary_indices",
        "Run a stage before it",
    ),
    Case(
        "no code metadata at all",
        lambda x: ((x.dataset / "metadata/codes.parquet").unlink(), x.write_pipeline(["normalization"]))[2:],
        ERROR,
        "stage_order",
        "normalization",
        "Run a stage before it",
    ),
    Case("no splits", no_splits, ERROR, "splits", "subject_splits.parquet", "train_only: false"),
    Case(
        "subjects in no split",
        splits(subject_id=[1], split=["train"]),
        WARNING,
        "splits",
        "subject_splits.parquet",
        "of this dataset",
    ),
    Case(
        "subjects in two splits",
        splits(subject_id=[*range(1, 11), 1], split=["train"] * 11),
        WARNING,
        "splits",
        "subject_splits.parquet",
        "one split",
    ),
    Case(
        "splits without a column",
        splits(subject=[1], split=["train"]),
        ERROR,
        "splits",
        "subject_splits.parquet",
        "Correct the file",
    ),
    Case(
        "an unknown aggregation",
        dataset_of("fit_normalization", fit_normalization={"aggregations": ["code/n"]}),
        ERROR,
        "unusable",
        "fit_normalization",
        "code/n_subjects",
    ),
    Case(
        "a matcher that is none",
        dataset_of(
            "filter_measurements", filter_measurements={"_match_revise": [{"_matcher": {"code": {"regex": "("}}}]}
        ),
        ERROR,
        "unusable",
        "_match_revise[0]",
        "",
    ),
]


def matching(case: Case, remarks: list[Remark]) -> list[Remark]:
    """The remarks that say what must be said."""
    return [
        remark
        for remark in remarks
        if (remark.severity, remark.kind) == (case.severity, case.kind)
        and case.place in f"{remark.where}: {remark.what}"
        and case.remedy in f"{remark.what}. {remark.remedy}"
    ]


def all_of(remarks: list[Remark]) -> str:
    return "\n".join(map(str, remarks))


def assert_found(case: Case, x: Any) -> None:
    given = case.broken(x) or ()
    before = files_below(x.folder, logs=True)
    report = x.report(*given)
    assert matching(case, [*report.remarks]), all_of([*report.remarks])
    assert report.is_ok is (case.severity != ERROR), all_of([*report.remarks])
    assert files_below(x.folder, logs=True) == before, "nothing is written"


@pytest.mark.parametrize("case", EXTRACTION, ids=lambda case: case.name)
def test_raw_tables(case, tmp_path):
    assert_found(case, Raw.in_folder(tmp_path))


@pytest.mark.parametrize("case", PREPROCESSING, ids=lambda case: case.name)
def test_datasets(case, tmp_path):
    assert_found(case, Dataset.in_folder(tmp_path))


@pytest.mark.parametrize("kind", [Raw, Dataset])
def test_what_is_not_broken_gives_no_remark_but_on_space(kind, tmp_path):
    report = kind.in_folder(tmp_path).report()
    assert [remark.kind for remark in report.remarks] == ["disk_space"], all_of([*report.remarks])


def test_another_runner(tmp_path):
    x = Raw.in_folder(tmp_path)
    (x.cohort / ".logs").mkdir(parents=True)
    with try_lock(x.cohort / ".logs" / ".runner.lock"):
        [remark] = [remark for remark in x.report().remarks if remark.severity == ERROR]
    assert (remark.kind, remark.remedy) == ("runner_lock", "Wait for it to finish, or stop it")
    assert x.report().is_ok


def test_after_a_stage_of_the_users_own_nothing_is_claimed(tmp_path):
    x = Dataset.in_folder(tmp_path)
    x.write_pipeline(["mine", "tensorization"], mine={"_script": "true"})
    assert x.report().is_ok
    x.write_pipeline(["tensorization"])
    assert not x.report().is_ok


def test_leading_zeros_of_ids_that_all_have_the_same_length_tell_nothing(tmp_path):
    x = Raw.in_folder(tmp_path)
    x.table("labs.csv", zeros(labs()))
    assert [remark.kind for remark in x.report().remarks] == ["ids_zeros", "disk_space"]
    x.table("patients.csv", zeros(patients()))
    assert [remark.kind for remark in x.report().remarks] == ["disk_space"]


def test_of_a_small_table_all_rows_are_looked_at(tmp_path):
    x = Raw.in_folder(tmp_path)
    x.table("labs.csv", pl.concat([labs()] * 250))
    [lab] = [event for event in x.report().events if event.event == "lab"]
    assert (lab.sampled_rows, lab.is_whole) == (30_000, True)


def test_text_in_a_code_beside_the_column_of_that_name_is_meant(tmp_path):
    x = Raw.in_folder(tmp_path)
    for code, n_warnings in {"test": 0, "value": 1}.items():
        x.events_with(code=["test", f"col({code})"], _metadata=None)
        assert sum("literal text" in remark.what for remark in x.report().remarks) == n_warnings


def test_text_in_a_code_with_the_name_of_what_is_measured_is_meant(tmp_path):
    x = Raw.in_folder(tmp_path)
    for event in ({}, {"numeric_value": "n", "each": [{"n": {"extract": {"from": "value", "regex": "(.*)"}}}]}):
        x.events_with(code=["LAB", "value"], _metadata=None, **event)
        assert not [remark for remark in x.report().remarks if "literal text" in remark.what]


def test_text_in_a_code_with_the_name_of_a_column_that_the_event_makes_is_warned_of(tmp_path):
    x = Raw.in_folder(tmp_path)
    x.events_with(code=["LAB", "part"], each=[{"part": {"literal": "A"}}], _metadata=None)
    [remark] = [remark for remark in x.report().remarks if "literal text" in remark.what]
    assert remark.remedy == "Write col(part) if its values are meant"


@pytest.mark.parametrize("stage", ["shard_events", SPLIT])
def test_an_empty_block_of_a_stage_is_as_good_as_none(tmp_path, stage):
    x = Raw.in_folder(tmp_path)
    x.write_pipeline(**{stage: None})
    assert [remark.kind for remark in x.report().remarks] == ["disk_space"]
