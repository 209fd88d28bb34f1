"""Where a stage reads and writes, which keys it knows, what the resolvers give."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import MEDS_transforms
from MEDS_transforms.errors import InputError
from MEDS_transforms.runner.pipeline import load_pipeline
from MEDS_transforms.settings.declarations import known_keys
from MEDS_transforms.settings.folders import INFERRED_STAGE_KEYS, is_metadata_stage, key_of, populate_stage
from MEDS_transforms.settings.keys import (
    code_modifiers,
    flag,
    unknown_additions,
    unknown_stage_blocks,
    unknown_stage_keys,
    unknown_top_keys,
)
from MEDS_transforms.settings.packaged import (
    CONFIG_DIR,
    EXTRACT_CONFIG_YAML,
    PREPROCESS_CONFIG_YAML,
    RESERVED_CONFIG_NAMES,
    RUNNER_CONFIG_YAML,
    with_packaged_blocks,
)
from MEDS_transforms.settings.resolvers import load_yaml_file

STAGES = ["data1", "meta1", "data2", "meta2", "data3"]
META = {"meta1": {"is_metadata": True}, "meta2": {"aggregations": ["code/n_subjects"]}}


def config(name: str, *overrides: str):
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        return compose(name, ["input_dir=in", "cohort_dir=out", *overrides])


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (
            "data1",
            {
                "is_metadata": False,
                "data_input_dir": "in/data",
                "metadata_input_dir": "in/metadata",
                "output_dir": "out/data1",
                "reducer_output_dir": None,
            },
        ),
        (
            "meta1",
            {
                "is_metadata": True,
                "data_input_dir": "out/data1",
                "metadata_input_dir": "in/metadata",
                "output_dir": "out/meta1",
                "reducer_output_dir": "out/meta1",
                "train_only": True,
            },
        ),
        (
            "data2",
            {
                "is_metadata": False,
                "data_input_dir": "out/data1",
                "metadata_input_dir": "out/meta1",
                "output_dir": "out/data2",
                "reducer_output_dir": None,
            },
        ),
        (
            "meta2",
            {
                "is_metadata": True,
                "aggregations": ["code/n_subjects"],
                "data_input_dir": "out/data2",
                "metadata_input_dir": "out/meta1",
                "output_dir": "out/meta2",
                "reducer_output_dir": "out/metadata",
                "train_only": True,
            },
        ),
        (
            "data3",
            {
                "is_metadata": False,
                "data_input_dir": "out/data2",
                "metadata_input_dir": "out/metadata",
                "output_dir": "out/data",
                "reducer_output_dir": None,
            },
        ),
    ],
)
@pytest.mark.parametrize("as_config", [False, True])
def test_what_a_stage_finds_filled_in(stage, expected, as_config):
    stages, blocks = STAGES, META
    if as_config:
        stages, blocks = OmegaConf.create(STAGES), OmegaConf.create(META)
    assert populate_stage(stage, "in", "out", stages, blocks) == expected


def test_what_the_block_sets_stays_and_later_stages_inherit_it():
    blocks = META | {
        "data1": {"output_dir": "/elsewhere", "n": 1},
        "meta1": {"is_metadata": True, "reducer_output_dir": "/meta", "train_only": False},
        "data2": {"data_input_dir": "/own", "metadata_input_dir": None},
    }
    assert populate_stage("data1", "in", "out", STAGES, blocks)["n"] == 1
    meta1 = populate_stage("meta1", "in", "out", STAGES, blocks)
    assert (meta1["data_input_dir"], meta1["train_only"]) == ("/elsewhere", False)
    data2 = populate_stage("data2", "in", "out", STAGES, blocks)
    assert (data2["data_input_dir"], data2["metadata_input_dir"]) == ("/own", None)
    meta2 = populate_stage("meta2", "in", "out", STAGES, blocks)
    assert (meta2["data_input_dir"], meta2["metadata_input_dir"]) == ("out/data2", "/meta")


@pytest.mark.parametrize(
    ("block", "is_metadata", "shown"),
    [
        (None, False, False),
        ({}, False, False),
        ({"is_metadata": None}, False, None),
        ({"is_metadata": False, "aggregations": []}, False, False),
        ({"is_metadata": None, "aggregations": []}, False, None),
        ({"aggregations": None}, True, True),
        ({"is_metadata": True}, True, True),
    ],
)
def test_metadata_stage_or_not(block, is_metadata, shown):
    assert is_metadata_stage(block) is is_metadata
    filled = populate_stage("s", "in", "out", ["s"], {"s": block})
    assert filled["is_metadata"] is shown
    assert ("train_only" in filled) is is_metadata


@pytest.mark.parametrize("value", ["true", 1, 0, []])
def test_is_metadata_of_any_stage_must_be_a_boolean(value):
    with pytest.raises(TypeError, match="is_metadata must be"):
        populate_stage("a", "in", "out", ["a", "b"], {"b": {"is_metadata": value}})


def test_a_stage_that_is_not_listed_is_an_error_with_the_options():
    with pytest.raises(ValueError, match=r"'data4' is not a valid stage name\. Options are: data1, meta1, data2"):
        populate_stage("data4", "in", "out", STAGES, {"data4": {}})


def test_stage_names_are_unique():
    with pytest.raises(ValueError, match=r"unique.*data1"):
        populate_stage("meta1", "in", "out", [*STAGES, "data1"], META)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+min_events=3", "Did you mean stage_configs.a.min_events?"),
        ("++sed=3", "(did you mean 'seed'?)"),
        ("+mine.x=3", "no packaged stage knows a setting 'mine'; it has no effect"),
        ("+referred=3", None),
        ("++seed=3", None),
        ("+code_modifier_cols=[unit]", None),
        ("+stage_configs.b.x=3", None),
        ("+hydra/launcher=x", None),
        ("+_note=3", None),
        ("seed=3", None),
    ],
)
def test_settings_that_are_added_and_have_no_effect(override, said):
    cfg = OmegaConf.create({"seed": "${referred}", "stage_configs": {"a": {"min_events": 1}, "b": None}})
    messages = unknown_additions([override], cfg)
    assert len(messages) == (0 if said is None else 1)
    assert all(said in message for message in messages)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"input_dir": None}, "input_dir is not set. "),
        ({"input_dir": "", "cohort_dir": None}, "input_dir, cohort_dir are not set. "),
        ({"stages": None}, "stages is not set. "),
        ({"stages": "a"}, "stages must be a list of names, not 'a'. Write stages=[a]."),
        ({"stage_configs": 3}, "stage_configs must be a block of keys for each stage, not 3."),
        ({"stage_configs": {"b": 3}}, "stage_configs.b: must be a block of keys, not 3."),
        ({"stage_configs": {"a": True}}, "stage_configs.a: must be a block of keys, not True."),
    ],
)
def test_a_stage_is_not_filled_in_from_nothing(given, said):
    good = {"input_dir": "in", "cohort_dir": "out", "stages": ["a", "b"], "stage_configs": {}}
    with pytest.raises(InputError, match=re.escape(said)):
        populate_stage("a", **{**good, **given})


def test_the_given_blocks_are_left_as_they_are():
    blocks = {"a": {"x": {"y": 1}}}
    populate_stage("a", "in", "out", ["a"], blocks)["x"] = 2
    assert blocks == {"a": {"x": {"y": 1}}}


def test_what_another_stage_misses_does_not_matter():
    blocks = OmegaConf.create({"a": {"x": "???", "y": "${oc.env:SURELY_NOT_SET}"}, "b": {"z": 1}})
    assert populate_stage("b", "in", "out", ["a", "b"], blocks)["z"] == 1


def test_the_paths_of_the_packaged_configs():
    for path in (EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML, RUNNER_CONFIG_YAML):
        assert path.is_file()
        assert path.parent == CONFIG_DIR
    assert {"_extract", "_preprocess", "_runner"} == RESERVED_CONFIG_NAMES
    assert {
        "is_metadata",
        "data_input_dir",
        "metadata_input_dir",
        "output_dir",
        "reducer_output_dir",
        "train_only",
    } == set(INFERRED_STAGE_KEYS)


PIPELINE_DEFAULTS = {
    "do_overwrite": False,
    "seed": 1,
    "worker": 0,
    "polling_time": 300,
    "etl_metadata.package_name": "MEDS_transforms",
    "etl_metadata.package_version": MEDS_transforms.__version__,
    "log_dir": None,
}


@pytest.mark.parametrize(
    ("name", "stage", "log_dir", "more"),
    [
        (
            "_extract",
            "shard_events",
            "out/shard_events/.logs",
            {"shards_map_fp": "out/metadata/.shards.json", "stage_configs.shard_events.data_input_dir": "in"},
        ),
        ("_preprocess", "filter_subjects", "out/filter_subjects/.logs", {"code_modifiers": None}),
    ],
)
def test_the_defaults_of_a_pipeline(name, stage, log_dir, more):
    cfg = config(name, f"stage={stage}")
    for key, value in (PIPELINE_DEFAULTS | more | {"log_dir": log_dir, "stage_cfg.output_dir": f"out/{stage}"}).items():
        assert OmegaConf.select(cfg, key) == value, key
    for key in ("etl_metadata.dataset_name", "etl_metadata.dataset_version"):
        assert OmegaConf.is_missing(*_parent_and_name(cfg, key))


def _parent_and_name(cfg, key):
    parent, _, name = key.rpartition(".")
    return OmegaConf.select(cfg, parent), name


PACKAGED_STAGES = {
    "shard_events": {"row_chunksize": 200000000, "infer_schema_length": 10000, "data_input_dir": "in"},
    "split_and_shard_subjects": {
        "is_metadata": True,
        "output_dir": "out/metadata",
        "n_subjects_per_shard": 50000,
        "external_splits_json_fp": None,
        "split_fracs": {"train": 0.8, "tuning": 0.1, "held_out": 0.1},
    },
    "convert_to_sharded_events": {"do_dedup_text_and_numeric": True},
    "merge_to_MEDS_cohort": {"unique_by": "*", "additional_sort_by": None},
    "extract_code_metadata": {"is_metadata": True, "description_separator": "\n"},
    "finalize_MEDS_metadata": {"is_metadata": True, "do_retype": True, "include_all_codes": False},
    "finalize_MEDS_data": {"do_retype": True},
    "reshard_to_split": {"n_subjects_per_shard": 50000},
    "filter_subjects": {"min_events_per_subject": None, "min_measurements_per_subject": None},
    "add_time_derived_measurements": {
        "age": {"DOB_code": "MEDS_BIRTH", "DOB_regex": None, "age_code": "AGE", "age_unit": "years"},
        "time_of_day": {"time_of_day_code": "TIME_OF_DAY", "endpoints": [6, 12, 18, 24]},
    },
    "add_record_bounds": {
        name: {"code": code, "at": None, "offset": 0, "offset_unit": "days", "otherwise": "event"}
        for name, code in (("start", "RECORD_START"), ("end", "RECORD_END"))
    },
    "count_code_occurrences": {
        "aggregations": ["code/n_occurrences", "code/n_subjects"],
        "do_summarize_over_all_codes": True,
    },
    "preliminary_counts": {
        "aggregations": ["code/n_occurrences", "code/n_subjects"],
        "do_summarize_over_all_codes": True,
    },
    "filter_measurements": {"min_subjects_per_code": None, "min_occurrences_per_code": None},
    "fit_outlier_detection": {"aggregations": ["values/n_occurrences", "values/sum", "values/sum_sqd"]},
    "occlude_outliers": {"stddev_cutoff": 4.5},
    "fit_normalization": {
        "aggregations": [
            "code/n_occurrences",
            "code/n_subjects",
            "values/n_occurrences",
            "values/sum",
            "values/sum_sqd",
        ]
    },
    "fit_vocabulary_indices": {
        "is_metadata": True,
        "ordering_method": "lexicographic",
        **dict.fromkeys(("min_occurrences", "min_subjects", "keep", "drop", "reserved_tokens", "extend_fp")),
    },
}
EXTRACTION = list(PACKAGED_STAGES)[:7]
PREPROCESSING = [
    "filter_subjects",
    "add_time_derived_measurements",
    "preliminary_counts",
    "filter_measurements",
    "fit_outlier_detection",
    "occlude_outliers",
    "fit_normalization",
    "fit_vocabulary_indices",
    "normalization",
    "tokenization",
    "tensorization",
]


def test_the_stages_in_order():
    assert list(config("_extract").stages) == EXTRACTION
    assert list(config("_preprocess").stages) == PREPROCESSING


@pytest.mark.parametrize("stage", PACKAGED_STAGES)
def test_the_defaults_of_a_stage(stage):
    cfg = config("_extract" if stage in EXTRACTION else "_preprocess")
    block = OmegaConf.to_container(cfg.stage_configs[stage], resolve=True)
    assert {key: block.get(key) for key in PACKAGED_STAGES[stage]} == PACKAGED_STAGES[stage]


def test_without_patterns_reorder_measurements_has_none():
    assert config("_preprocess").stage_configs.reorder_measurements["ordered_code_patterns"] is None


def test_the_data_go_through_the_packaged_pipelines_from_stage_to_stage():
    cfg = config("_extract", "stage=finalize_MEDS_metadata")
    assert cfg.stage_cfg.reducer_output_dir == "out/metadata"
    assert cfg.stage_cfg.metadata_input_dir == "out/extract_code_metadata"
    cfg = config("_extract", "stage=finalize_MEDS_data")
    assert cfg.stage_cfg.data_input_dir == "out/merge_to_MEDS_cohort"
    assert cfg.stage_cfg.output_dir == "out/data"


# Keys


@pytest.mark.parametrize(
    ("stage", "block", "unknown"),
    [
        ("shard_events", {"row_chunksize": 1, "output_dir": "x", "description": "d"}, []),
        (
            "shard_events",
            {"row_chunksiz": 1},
            ["row_chunksiz: shard_events has no such key (did you mean 'row_chunksize"],
        ),
        ("shard_events", {"a": 1, "b": 2}, ["a:", "b:"]),
        ("shard_events", {"_script": "x", "_anything": 1}, []),
        ("filter_subjects", {"_match_revise": [], "anything": 1}, ["anything:"]),
        (
            "filter_subjects",
            {"_match_revise": [{"_matcher": {"code": "A"}, "min_events": 1}, 5]},
            ["_match_revise[0].min_events: filter_subjects has no such key (did you mean 'min_events_per_subject"],
        ),
        ("extract_values", {"numeric_value": "x"}, []),
        ("a_users_own", {"anything": 1}, []),
        ("shard_events", None, []),
    ],
)
def test_unknown_keys(stage, block, unknown):
    messages = unknown_stage_keys(stage, block)
    assert len(messages) == len(unknown)
    for message, part in zip(messages, unknown, strict=True):
        assert message.startswith(f"stage_configs.{stage}.{part}")
        assert "Known keys: " in message


@pytest.mark.parametrize("stage", PACKAGED_STAGES)
def test_a_stage_knows_its_own_defaults(stage):
    cfg = config("_extract" if stage in EXTRACTION else "_preprocess")
    assert unknown_stage_keys(stage, cfg.stage_configs[stage]) == []
    assert known_keys(stage) >= set(PACKAGED_STAGES[stage])


def test_a_block_of_no_stage_is_told():
    blocks = {"ours": {}, "tokenization": None, "ourz": {"x": 1}, "_common": {}}
    [message] = unknown_stage_blocks(["ours", "reshard_to_split"], blocks)
    assert message.startswith("stage_configs.ourz: there is no such stage in `stages` (did you mean 'ours'?)")
    assert unknown_stage_blocks(["ours"], None) == []


@pytest.mark.parametrize(("value", "expected"), [
    (True, True), (1, True), ("true", True), ("Yes", True), ("on", True),
    (False, False), (0, False), (None, False), ("no", False), ("Off", False), ("False", False),
])  # fmt: skip
def test_a_flag_and_the_words_for_it(value, expected):
    assert flag({"x": value}, "x") is flag({"x": value}, "x", default=not expected) is expected


def test_a_flag_that_is_not_given_is_its_default():
    assert (flag({}, "x"), flag({}, "x", default=True)) == (False, True)


@pytest.mark.parametrize("value", ["flase", "", 2, [True], "null"])
def test_what_is_neither_true_nor_false_is_an_error(value):
    with pytest.raises(ValueError, match=re.escape(f"x must be true or false, not {value!r}")):
        flag({"x": value}, "x")


def test_code_modifiers():
    assert code_modifiers({}) is None
    assert code_modifiers({"code_modifiers": None}) is None
    assert code_modifiers(OmegaConf.create({"code_modifiers": ["unit"]})) == ["unit"]
    with pytest.raises(ValueError, match="list of column names, not 'unit'"):
        code_modifiers({"code_modifiers": "unit"})


@pytest.mark.parametrize("former", ["code_modifier_cols", "code_modifier_columns"])
def test_former_names_of_code_modifiers_are_taken_with_a_warning(former):
    with pytest.warns(DeprecationWarning, match=f"`{former}` is now called `code_modifiers`"):
        assert code_modifiers({former: ["unit"]}) == ["unit"]
    assert code_modifiers({former: None}) is None
    assert code_modifiers({former: ["old"], "code_modifiers": ["unit"]}) == ["unit"]


# Resolvers


def test_resolvers_are_registered_on_import():
    assert all(
        OmegaConf.has_resolver(name)
        for name in (
            "current_script_name",
            "populate_stage",
            "get_script_docstring",
            "get_package_name",
            "get_package_version",
            "load_yaml_file",
        )
    )


def test_load_yaml_file(tmp_path):
    (tmp_path / "x.yaml").write_text("a: [1, 2]")
    assert load_yaml_file(str(tmp_path / "x.yaml")) == {"a": [1, 2]}
    assert load_yaml_file(None) == load_yaml_file("") == {}
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        load_yaml_file(str(tmp_path / "none.yaml"))
    cfg = OmegaConf.create({"x": f"${{load_yaml_file:{tmp_path}/none.yaml}}"})
    with pytest.raises(OmegaConfBaseException, match=r"none\.yaml"):
        cfg.x  # noqa: B018


NAME = "from MEDS_transforms.settings.resolvers import current_script_name, get_script_docstring as doc"
SAYS = f"{NAME}\ndef main():\n    print(current_script_name(), '|', doc())\n"


@pytest.mark.parametrize(
    ("module", "starter", "program", "expected"),
    [
        (f'"""Of the module."""\n{SAYS}main()\n', None, "my_stage.py", "my_stage | Of the module."),
        (f"{SAYS}main()\n", None, "my_stage.py", "my_stage |"),
        (f"{SAYS}main.__doc__ = 'Of main.'\nmain()\n", None, "my_stage.py", "my_stage | Of main."),
        (f'"""Of the module."""\n{SAYS}', "from my_stage import main\nmain()\n", "run-it", "my_stage | Of the module."),
        (f"{SAYS}main.__doc__ = 'Of main.'", "from my_stage import main\nmain()\n", "run-it", "my_stage | Of main."),
        (SAYS, "from my_stage import main as go\ngo()\n", "MEDS_transform-mine", "mine |"),
        (SAYS, "from my_stage import main as go\ngo()\n", "MEDS_extract-mine", "mine |"),
    ],
)
def test_name_and_words_of_a_users_script(tmp_path, module, starter, program, expected):
    (tmp_path / "my_stage.py").write_text(module)
    if starter:
        (tmp_path / program).write_text(starter)
    ran = subprocess.run(
        [sys.executable, Path(program)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stdout.strip() == expected, ran.stderr


EMPTY_BLOCKS = {
    "all": "stage_configs:\n",
    "one": "stage_configs:\n  occlude_outliers:\n  filter_subjects: {min_events_per_subject: 3}\n",
    "none": "stage_configs:\n  filter_subjects: {min_events_per_subject: 3}\n",
}


@pytest.mark.parametrize("case", EMPTY_BLOCKS)
def test_an_empty_block_is_the_packaged_one(tmp_path, case):
    text = "defaults: [_preprocess, _self_]\nhydra: {searchpath: [pkg://MEDS_transforms.configs]}\ninput_dir: in\n"
    stages = "cohort_dir: out\nstages: [filter_subjects, occlude_outliers]\n"
    (tmp_path / "pipe.yaml").write_text(text + stages + EMPTY_BLOCKS[case])
    with initialize_config_dir(str(tmp_path), version_base=None):
        cfg = compose("pipe", ["stage=occlude_outliers"])
    assert (cfg.stage_cfg.stddev_cutoff, cfg.stage_cfg.data_input_dir) == (4.5, "out/filter_subjects")
    blocks = with_packaged_blocks(cfg).stage_configs
    assert blocks.occlude_outliers == {"stddev_cutoff": 4.5}
    assert blocks.filter_subjects.min_events_per_subject == (None if case == "all" else 3)
    assert load_pipeline(str(tmp_path / "pipe.yaml")).blocks.keys() >= {"filter_subjects", "occlude_outliers"}


@pytest.mark.parametrize("stages", ["???", "null", "text", "[a, b]"])
@pytest.mark.parametrize("blocks", ["???", "null", "{a: '${x}'}", "{a: '???'}", "[a]", "{}"])
def test_blocks_of_any_shape_may_stay(stages, blocks):
    cfg = OmegaConf.create(f"stages: {stages}\nstage_configs: {blocks}")
    filled = {"stages": ["a", "b"], "stage_configs": {"a": {}, "b": {}}}
    assert with_packaged_blocks(cfg) == (filled if (stages, blocks) == ("[a, b]", "null") else cfg)


@pytest.mark.parametrize(
    ("key", "used_by", "near", "all_unknown"),
    [
        ("stage_config", "", "stage_configs", True),
        ("strct", "", "strict", True),
        ("etl_metdata", "", "etl_metadata", True),
        ("strct", "${strct}", None, False),
        ("strct", "${oc.select:strct,1}", None, False),
        ("strct", "${strct.a}", None, False),
        ("strct", "strct", "strict", True),
        ("stage_config", "${stage_configs.a}", "stage_configs", True),
        ("my_dir", "", None, True),
        ("my_dir", "${my_dir}/x", None, False),
        ("_strct", "", None, False),
        ("code_modifier_cols", "", None, False),
    ],
)
def test_unknown_keys_at_the_top(key, used_by, near, all_unknown):
    cfg = OmegaConf.create({"seed": 1, key: "x", "cohort_dir": used_by})
    for found in (unknown_top_keys(cfg, []), unknown_top_keys({key: "x"}, [], {"run": used_by})):
        assert [message.partition(":")[0] for message in found] == ([key] if near else [])
        assert all(f"(did you mean {near!r}?)" in message for message in found)
    assert len(unknown_top_keys(cfg, [], all_unknown=True)) == all_unknown
    assert unknown_top_keys(cfg, [f"++{key}=x"], all_unknown=True) == []


@pytest.mark.parametrize(
    ("block", "read", "key"),
    [
        ({}, "raw", "input_dir"),
        ({}, "raw/data", "input_dir"),
        ({"data_input_dir": "raw"}, "raw", "input_dir"),
        ({"data_input_dir": "elsewhere"}, "elsewhere", "stage_configs.a.data_input_dir"),
        ({}, "cohort/before", "stage_configs.a.data_input_dir"),
    ],
)
def test_the_key_that_names_what_a_stage_reads_is_the_one_to_correct(block, read, key):
    cfg = {"input_dir": "raw", "stage": "a", "stage_configs": {"a": block}, "stage_cfg": {"data_input_dir": read}}
    assert key_of(cfg, "data_input_dir") == key
