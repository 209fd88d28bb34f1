"""What YAML files declare of their keys: read, shown, checked."""

import pytest
from omegaconf import OmegaConf

import MEDS_transforms
from MEDS_transforms.settings.checks import check_block, check_pipeline
from MEDS_transforms.settings.declarations import common_keys, pipeline_keys, read_keys, stage_block
from MEDS_transforms.settings.words import allowed, list_of_keys
from MEDS_transforms.stages import packaged_blocks, packaged_stages

NULLABLE = {"type": ["integer", "null"], "minimum": 0}


def test_keys_of_a_file(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "# About x, in\n# two lines.\nx:\n"
        "  # A number: of times.\n  # @schema {type: integer,\n  #   minimum: 1}\n  n: 3\n"
        '  # Not about `plain`.\n\n  plain: "# @schema {type: string}"\n'
        "  # A block.\n  inner:\n    # Inside.\n    # @schema {type: string}\n    a: ???\n"
    )
    [(name, x)] = read_keys(tmp_path / "x.yaml").items()
    assert (name, x.meaning, [*x.keys]) == ("x", "About x, in\ntwo lines.", ["n", "inner"])
    n, inner = x.keys.values()
    assert (n.default, n.meaning, n.schema) == (3, "A number: of times.", {"type": "integer", "minimum": 1})
    assert inner.schema == {"type": "object", "properties": {"a": {"type": "string"}}}
    assert inner.default == {"a": "???"}


@pytest.mark.parametrize("text", ["x: [", "# @schema {type: [\nx: 1\n", "x: 1\nx: 2\n"])
def test_a_file_that_is_not_yaml_is_named(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"x\.yaml is not valid"):
        read_keys(tmp_path / "x.yaml")


@pytest.mark.parametrize("stage", sorted(packaged_blocks()))
def test_defaults_are_allowed(stage):
    assert check_block(stage, stage_block(stage).default) == []


def test_keys_of_every_stage_are_those_that_are_filled_in():
    others = {"description", "keep_intermediates"}
    assert {key for key in common_keys() if not key.startswith("_")} - others == MEDS_transforms.INFERRED_STAGE_KEYS


def test_a_block_that_another_script_runs_is_explained_by_its_keys():
    assert "Add a row with a null code" in list_of_keys("preliminary_counts")
    assert "default true)" in list_of_keys("preliminary_counts").splitlines()[-1]
    assert "default false)" in list_of_keys("aggregate_code_metadata").splitlines()[-1]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "anything"),
        (NULLABLE, "a whole number of at least 0 or null"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "a number from 0 to 1"),
        ({"type": ["boolean", "null"]}, "true or false, or null"),
        ({"type": "array", "minItems": 1, "items": {"type": "integer"}}, "a non-empty list of whole numbers"),
        ({"enum": ["a", "b"]}, '"a" or "b"'),
        ({"anyOf": [{"const": "*"}, {"type": "array", "items": {"type": "string"}}]}, '"*" or a list of text'),
    ],
)
def test_words(schema, words):
    assert allowed(schema) == words


@pytest.mark.parametrize(
    ("stage", "block", "said"),
    [
        (
            "filter_subjects",
            {"min_events_per_subject": True},
            "must be a whole number from 0 to 4294967295 or null, not True",
        ),
        ("filter_subjects", {"min_events_per_subject": "3"}, " or null, not '3'"),
        ("filter_subjects", {"min_measurements_per_subject": -3}, "from 0 to 4294967295 or null, not -3"),
        ("filter_subjects", {"min_events_per_subject": 2**32}, "from 0 to 4294967295 or null, not 4294967296"),
        ("filter_measurements", {"min_subjects_per_code": -3}, "must be a whole number of at least 0 or null, not -3"),
        ("shard_events", {"infer_schema_length": 10**20}, "infer_schema_length must be a whole number from 0 to"),
        ("shard_events", {"row_chunksize": 0}, "row_chunksize must be a whole number of at least 1, not 0"),
        ("occlude_outliers", {"stddev_cutoff": True}, "stddev_cutoff must be a number of at least 0 or null, not True"),
        ("merge_to_MEDS_cohort", {"unique_by": "code"}, "must be \"*\", a list of text or null, not 'code'"),
        ("fit_vocabulary_indices", {"ordering_method": "lexicografic"}, "(did you mean 'lexicographic'?)"),
        ("add_time_derived_measurements", {"age": {"age_code": 3}}, ".age.age_code must be text, not 3"),
        ("add_time_derived_measurements", {"time_of_day": {"endpoints": [6, 25]}}, ".endpoints[1] must be"),
        ("split_and_shard_subjects", {"split_fracs": {"train": 1.5}}, "split_fracs.train must be a number from 0 to 1"),
        ("finalize_MEDS_data", {"do_retype": "maybe"}, "do_retype must be true or false, not 'maybe'"),
        ("filter_subjects", {"train_only": 3}, "train_only must be true or false, or null, not 3"),
    ],
)
def test_values_that_are_not_allowed(stage, block, said):
    [message] = check_block(stage, OmegaConf.create(block))
    assert message.startswith(f"stage_configs.{stage}.")
    assert said in message


def test_all_mistakes_are_found_also_in_parts_of_the_data():
    block = {
        "min_events_per_subject": 1.5,
        "min_measurements_per_subject": "x",
        "_match_revise": [{"_matcher": {"code": "A"}, "min_events_per_subject": 2.5}],
    }
    where = ["min_events_per_subject", "min_measurements_per_subject", "_match_revise[0].min_events_per_subject"]
    messages = check_block("mine", block, "filter_subjects")
    assert sorted(message.partition(" ")[0] for message in messages) == sorted(f"stage_configs.mine.{w}" for w in where)


@pytest.mark.parametrize("stage", packaged_stages())
def test_a_stage_matches_and_revises_where_it_works_on_rows(stage):
    """The others do not look at the key; it would have no effect, or one that nobody means."""
    on_rows = ("filter", "enforce", "bin", "add_", "extract_values", "reorder", "occlude", "normalization")
    on_rows += ("standardize", "flag")
    messages = check_block(stage, {"_match_revise": [{"_matcher": {"code": "A"}}]})
    refused = [f"stage_configs.{stage}._match_revise: {stage} cannot match and revise. Remove the key"]
    assert messages == ([] if stage.startswith(on_rows) else refused)


@pytest.mark.parametrize(
    ("stage", "block"),
    [
        ("finalize_MEDS_data", {"do_retype": "no"}),
        ("finalize_MEDS_data", {"do_retype": None}),
        ("filter_subjects", {"min_events_per_subject": "${oc.env:MIN}"}),
        ("aggregate_code_metadata", {"aggregations": "???"}),
        ("extract_values", {"n": 3, "text_value": ["a", "b"], "_n": None}),
        ("filter_subjects", {"a key that it does not know": 3}),
        ("filter_subjects", None),
        ("a stage of the user's", {"n": "x"}),
    ],
)
def test_values_that_are_allowed(stage, block):
    assert check_block(stage, block) == []


REFERRING = """
seed: ${oc.env:SECRET}
mine: abc
theirs: ${oc.env:SECRET}
later: ${oc.env:SURELY_NOT_SET}
stage_configs:
  filter_subjects: {min_events_per_subject: "${theirs}", min_measurements_per_subject: "${later}"}
  occlude_outliers: {stddev_cutoff: "${mine}"}
  merge_to_MEDS_cohort: {unique_by: [a, "${seed}", 3]}
"""


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("filter_subjects", ["min_events_per_subject must be", "not what ${theirs} is (from the environment)"]),
        ("occlude_outliers", ["stddev_cutoff must be", "not 'abc' (from ${mine})"]),
        ("merge_to_MEDS_cohort", ["unique_by must be", "${seed}"]),
    ],
)
def test_values_that_refer_to_others_are_checked_and_secrets_are_not_told(monkeypatch, stage, said):
    monkeypatch.setenv("SECRET", "hush")
    cfg = OmegaConf.create(REFERRING)
    block = cfg.stage_configs[stage]
    for given in (block, {key: OmegaConf.select(block, key, throw_on_resolution_failure=False) for key in block}):
        [message] = check_block(stage, given, cfg=cfg)
        assert "hush" not in message
        for part in said:
            assert part in message


def test_keys_of_a_pipeline_that_refer_to_others(monkeypatch):
    monkeypatch.setenv("SECRET", "hush")
    [message] = check_pipeline(OmegaConf.create(REFERRING))
    assert message.startswith("seed must be a whole number of at least 0 or null, not what ${oc.env:SECRET} is")
    monkeypatch.setenv("SECRET", "3")
    assert check_pipeline(OmegaConf.create({"seed": "${oc.decode:${oc.env:SECRET}}"})) == []


def test_keys_of_a_pipeline():
    cfg = {"seed": "x", "do_overwrite": "maybe", "worker": -1, "code_modifiers": "unit", "polling_time": True, "own": 3}
    assert [message.partition(" must be ")[0] for message in check_pipeline(cfg)] == [
        "code_modifiers",
        "do_overwrite",
        "polling_time",
        "seed",
        "worker",
    ]
    [message] = check_pipeline({"input_dir": None, "event_conversion_config_fp": ""})
    assert message.startswith("input_dir, event_conversion_config_fp are not set. ")
    assert check_pipeline({"seed": 1, "do_overwrite": "no", "code_modifiers": None, "stages": "???"}) == []
    assert all(key.meaning for key in pipeline_keys().values())
