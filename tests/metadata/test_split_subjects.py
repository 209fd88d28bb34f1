"""A dataset's subjects divided anew: by both methods, in strata and groups, and what the pipeline makes of it."""

import hashlib
import json
import subprocess
from collections import Counter, defaultdict
from datetime import datetime
from functools import partial

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.test_real_preprocessing import DATASETS, SHARED_DATA
from helpers import SCRIPTS, Preprocessing, check_meds_splits, files_below, measurements, write_table
from MEDS_transforms.dataset.splits import shard_subjects
from MEDS_transforms.metadata.split_subjects import check

T = datetime(2020, 1, 1)
N = 40
HALVES = {"train": 0.5, "tuning": None, "held_out": 0.5}


def rows_of(subject):
    """A birth for all, a death for every fourth, a family for every second, of two subjects each."""
    yield (subject, None, "BIRTH")
    if subject % 4 == 0:
        yield (subject, T, "DEATH")
    if subject % 2 == 0:
        yield (subject, T, "FAMILY", float(subject // 4))
    yield (subject, T, f"SITE//{subject % 3}", 1.0)


ROWS = [row for subject in range(1, N + 1) for row in rows_of(subject)]
SHARDS = {"a/0": measurements(*ROWS[:50]), "b": measurements(*ROWS[50:])}


@pytest.fixture
def x(tmp_path):
    x = Preprocessing(tmp_path)
    x.write(SHARDS)
    return x


def split(x, **block):
    """The split of each subject."""
    x.run("split_subjects", **block)
    path = x.cohort / "metadata" / "subject_splits.parquet"
    check_meds_splits(path)
    rows = pl.read_parquet(path).rows()
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def account(x):
    return json.loads((x.cohort / "metadata" / "accounting" / "split_subjects.json").read_text())


@pytest.mark.parametrize("method", ["random", "hash"])
@pytest.mark.parametrize("seed", [1, 7])
def test_the_splits_are_those_that_extraction_draws(x, method, seed):
    shards = shard_subjects(range(1, N + 1), seed=seed, method=method)
    assert split(x, method=method, cfg_seed=seed) == {i: name[:-2] for name, ids in shards.items() for i in ids}


def test_rows_are_in_the_order_of_the_fractions_and_by_subject(x):
    found = split(x, split_fracs={"train": 0.2, "tuning": 0.3, "held_out": 0.5})
    order = ["train", "tuning", "held_out"]
    assert [*found.items()] == sorted(found.items(), key=lambda item: (order.index(item[1]), item[0]))
    assert Counter(found.values()) == {"train": 8, "tuning": 12, "held_out": 20}


def test_each_split_has_its_share_of_every_stratum(x):
    found = split(x, split_fracs=HALVES, stratify_by=["DEATH", {"code": {"regex": "^SITE//0"}}])
    counts = Counter((subject % 4 == 0, subject % 3 == 0, split) for subject, split in found.items())
    strata = Counter((subject % 4 == 0, subject % 3 == 0) for subject in found)
    for (*stratum, _), n in counts.items():
        assert abs(n - strata[tuple(stratum)] / 2) < 1
    told = account(x)["strata"]
    assert told["DEATH, not code: {'regex': '^SITE//0'}"] == {
        split: counts[True, False, split] for split in ("train", "held_out")
    }


GROUPS = {
    "values of a code": {"output": "numeric_value", "matcher": {"code": "FAMILY"}},
    "ends of codes": {"extract": {"from": "code", "regex": "^SITE//(.+)$", "group_index": 1}},
}


@pytest.mark.parametrize("method", ["random", "hash"])
@pytest.mark.parametrize("group_by", GROUPS.values(), ids=GROUPS)
def test_a_group_is_in_one_split(x, method, group_by):
    found = split(x, split_fracs=HALVES, method=method, group_by=group_by, cfg_seed=5)
    by_value = "output" in group_by
    homes = defaultdict(set)
    for subject, home in found.items():
        if not by_value or subject % 2 == 0:
            homes[subject // 4 if by_value else subject % 3].add(home)
    assert {len(home) for home in homes.values()} == {1}
    groups = account(x)["groups"]
    assert groups == ({"groups": 11, "subjects": 20, "largest": 2} if by_value else
                      {"groups": 3, "subjects": 40, "largest": 14})  # fmt: skip
    if by_value and method == "random":
        assert Counter(found.values()) == {"train": 20, "held_out": 20}


def test_groups_by_a_column_with_a_stratum(x):
    shards = {name: df.with_columns(family=pl.col("subject_id") // 4) for name, df in SHARDS.items()}
    x.write(shards)
    found = split(x, split_fracs=HALVES, group_by="family", stratify_by="DEATH")
    assert all(len({found[subject] for subject in range(f * 4, f * 4 + 4) if subject}) == 1 for f in range(10))
    assert Counter(split for subject, split in found.items() if subject % 4 == 0) == {"train": 5, "held_out": 5}


def test_groups_of_a_table_with_external_splits(x, caplog):
    write_table(x.folder / "groups.csv", "subject_id,group\n1,f\n2,f\n3,g\n4,\n99,g\n")
    write_table(x.folder / "given.csv", "subject_id,split\n1,mine\n40,held_out\n77,mine\n")
    files = {"groups_fp": str(x.folder / "groups.csv"), "external_splits_fp": str(x.folder / "given.csv")}
    found = split(x, **files)
    assert {subject for subject, home in found.items() if home == "mine"} == {1, 2}
    assert found[40] == "held_out"
    assert len(found) == N
    told = account(x)["splits"]
    assert told["mine"] == {"subjects": 2, "given": 2}
    assert told["held_out"] == {"subjects": 5, "given": 1, "share_wanted": 0.1, "share_reached": round(4 / 37, 6)}
    assert "groups_fp: 1 subject without data, such as 99" in caplog.text
    assert "external_splits_fp: 1 subject without data, such as 77" in caplog.text


def test_external_splits_of_all_subjects_in_json(x, caplog):
    (x.folder / "all.json").write_text(json.dumps({"b": [*range(1, 30)], "a": [*range(30, N + 1)]}))
    found = split(x, external_splits_fp=str(x.folder / "all.json"))
    assert Counter(found.values()) == {"b": 29, "a": 11}
    assert "are ignored" in caplog.text


def test_a_share_that_groups_keep_from_being_met_is_a_warning(x, caplog):
    split(x, split_fracs={"train": 0.75, "tuning": None, "held_out": 0.25}, group_by=GROUPS["ends of codes"])
    assert "The split held_out has 0.325 of the subjects, not 0.25" in caplog.text


def test_dtypes_and_shards_that_writers_make(x):
    """Categorical codes, narrow ids, no numeric_value, an empty shard, null codes, a subject in two shards."""
    first = SHARDS["a/0"].cast({"code": pl.Categorical, "subject_id": pl.Int32}).drop("numeric_value")
    nulls = measurements((5, T, None), (41, T, None))
    want = split(x, stratify_by="DEATH", split_fracs=HALVES)
    x.write({**SHARDS, "a/0": first, "none": SHARDS["b"].clear(), "nulls": nulls})
    found = split(x, stratify_by="DEATH", split_fracs=HALVES, cfg_do_overwrite=True)
    assert found.keys() == {*want, 41}
    by_family = {"group_by": GROUPS["values of a code"], "cfg_do_overwrite": True}
    assert split(x, **by_family).keys() == {*want, 41}


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), n=st.integers(1, 4))
def test_the_sharding_does_not_matter(tmp_path_factory, data, n):
    numbers = data.draw(st.lists(st.integers(0, n - 1), min_size=len(ROWS), max_size=len(ROWS)))
    block = {"stratify_by": "DEATH", "group_by": GROUPS["values of a code"]}
    found = []
    for placed in ([0] * len(ROWS), numbers):
        x = Preprocessing(tmp_path_factory.mktemp("x"))
        whole = measurements(*ROWS).with_columns(shard=pl.Series(placed))
        x.write({str(i): whole.filter(pl.col("shard") == i).drop("shard") for i in range(n)})
        found.append(split(x, **block))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"split_fracs": {"train": 0.5}}, "must sum to 1, not 0.7"),
        ({"stratify_by": "DEATH", "method": "hash"}, "stratify_by: has no effect with the method hash"),
        ({"method": "hash", "cfg_seed": None}, "seed: must be a number for the method hash"),
        ({"stratify_by": ["A", {"code": ["A"]}]}, r"(?s)stratify_by\[1\]: Matcher at code: found \['A'\]"),
        ({"group_by": {"nothing": "a", "more": "b"}}, "group_by: "),
        ({"group_by": "family", "groups_fp": "{folder}/groups.csv"}, "group_by, groups_fp: both are given"),
        ({"split_fracs": {"../x": 0.0}}, "'../x' of a split"),
        ({"external_splits_fp": "{folder}/two.json"}, "1 subject in several splits, such as 2"),
        ({"groups_fp": "{folder}/two.csv"}, "column group: 1 subject with several values, such as 1 with 'x', 'y'"),
    ],
)
def test_settings_that_cannot_be(x, block, said):
    write_table(x.folder / "groups.csv", "subject_id,group\n1,x\n")
    write_table(x.folder / "two.csv", "subject_id,group\n1,x\n1,y\n")
    (x.folder / "two.json").write_text('{"a": [1, 2], "b": [2]}')
    block = {k: v.replace("{folder}", str(x.folder)) if isinstance(v, str) else v for k, v in block.items()}
    with pytest.raises(ValueError, match=said):
        check(x.cfg("split_subjects", **block))
    with pytest.raises(ValueError, match=said):
        x.run("split_subjects", **block)
    assert files_below(x.cohort) == []


@pytest.mark.parametrize(
    ("block", "error", "said"),
    [
        ({"group_by": "famly"}, KeyError, "no column famly"),
        ({"stratify_by": {"ward": "A"}}, KeyError, "no column ward; it has code, .*Correct stratify_by"),
        ({"group_by": "code"}, ValueError, "40 subjects in several groups, such as 1 in 'BIRTH' and 'SITE//1'"),
        ({"group_by": {"str": "all"}}, ValueError, r"Too few groups \(1\)"),
        ({"groups_fp": "groups.csv", "external_splits_fp": "s.csv"}, ValueError, "1 group in several .*'x' in a, b"),
    ],
)
def test_data_that_cannot_be_divided(x, monkeypatch, block, error, said):
    monkeypatch.chdir(x.folder)
    write_table(x.folder / "groups.csv", "subject_id,group\n1,x\n2,x\n")
    write_table(x.folder / "s.csv", "subject_id,split\n1,a\n2,b\n")
    with pytest.raises(error, match=said):
        x.run("split_subjects", **block)
    assert files_below(x.cohort) == ["metadata/.subject_splits.parquet.lock"]


COUNTS = {"_script": "MEDS_transform-aggregate_code_metadata", "aggregations": ["code/n_subjects"]}


def test_a_pipeline_goes_by_the_new_splits_from_then_on(tmp_path):
    """The former splits, by which shards are named, and their file, count no more; the code metadata is passed by."""
    x, former = Preprocessing(tmp_path), {"train": [*range(1, 31)], "tuning": [*range(31, N + 1)]}
    whole = measurements(*ROWS)
    shards = {f"{name}/0": whole.filter(pl.col("subject_id").is_in(ids)) for name, ids in former.items()}
    x.write(shards, codes=pl.DataFrame({"code": ["BIRTH"], "description": ["born"]}), splits=former)
    stages = ["counts_before", "split_subjects", "counts", "reshard_to_split", "counts_of_shards"]
    blocks = dict.fromkeys(["counts_before", "counts", "counts_of_shards"], COUNTS)
    content = {
        "defaults": ["_preprocess", "_self_"], "input_dir": str(x.dataset), "cohort_dir": str(x.cohort),
        "stages": stages, "stage_configs": blocks | {"split_subjects": {"split_fracs": {"train": 0.5, "tuning": 0.5,
        "held_out": None}, "stratify_by": "DEATH"}},
    }  # fmt: skip
    (x.folder / "pipeline.yaml").write_text(yaml.safe_dump(content))
    command = [SCRIPTS / "MEDS_transform-runner", f"pipeline_config_fp={x.folder}/pipeline.yaml"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    splits = dict(pl.read_parquet(x.cohort / "metadata" / "subject_splits.parquet").rows())
    assert Counter(splits.values()) == {"train": 20, "tuning": 20}
    for name, df in x.shards(x.cohort / "data").items():
        assert {splits[subject] for subject in df["subject_id"]} == {name.partition("/")[0]}
    train = [subject for subject, split in splits.items() if split == "train"]
    for stage, ids in {"counts_before": former["train"], "counts": train, "metadata": train}.items():
        codes = pl.read_parquet(x.cohort / stage / "codes.parquet")
        of_code = dict(codes.select("code", "code/n_subjects").rows())
        assert (of_code["BIRTH"], of_code["DEATH"]) == (len(ids), sum(subject % 4 == 0 for subject in ids))
        assert codes.filter(pl.col("code") == "BIRTH")["description"].to_list() == ["born"]


@pytest.mark.parametrize("dataset", DATASETS or [None])
def test_real_subjects_as_a_database_and_plain_python_divide_them(dataset, tmp_path):
    if dataset is None:
        pytest.skip(f"no datasets in {SHARED_DATA}; name their folder in the environment variable MEDS_SHARED_DATA")
    duckdb = pytest.importorskip("duckdb")
    x, folder = Preprocessing(tmp_path), dataset / "expected" / "extraction"
    data = f"read_parquet('{folder}/data/**/*.parquet', union_by_name=true)"
    women = {i for (i,) in duckdb.sql(f"SELECT DISTINCT subject_id FROM {data} WHERE code = 'GENDER//F'").fetchall()}
    ages = dict(
        duckdb.sql(f"SELECT subject_id, any_value(numeric_value) FROM {data} WHERE code = 'ANCHOR_AGE' GROUP BY 1")
        .fetchall()
    )  # fmt: skip
    subjects = {i for (i,) in duckdb.sql(f"SELECT DISTINCT subject_id FROM {data}").fetchall()}
    run = partial(split, x, cfg_input_dir=str(folder), cfg_do_overwrite=True)

    found = run(stratify_by="GENDER//F")
    assert found.keys() == subjects
    for stratum in (women, subjects - women):
        for name, share in {"train": 0.8, "tuning": 0.1, "held_out": 0.1}.items():
            assert abs(sum(found[i] == name for i in stratum) - share * len(stratum)) < 1

    by_age = {"output": "numeric_value", "matcher": {"code": "ANCHOR_AGE"}}
    found = run(group_by=by_age, method="hash", cfg_seed=3)
    assert found == {i: of_text(str(int(ages[i])) if i in ages else str(i), 3) for i in subjects}
    found = run(group_by=by_age)
    assert len({(ages[i], found[i]) for i in ages}) == len({*ages.values()})
    assert abs(sum(split == "train" for split in found.values()) / len(subjects) - 0.8) < 0.02


def of_text(name, seed):
    """The split of a name by its hash, by the fractions 0.8, 0.1, 0.1."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=str(seed).encode()).digest()
    drawn = int.from_bytes(digest, "big") / 2**64
    return "train" if drawn < 0.8 else "tuning" if drawn < 0.9 else "held_out"
