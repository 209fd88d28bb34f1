"""Which data of a pipeline are intermediate, and which of these are kept."""

import pytest

from MEDS_transforms.settings.intermediates import intermediates

STAGES = ["filter", "count", "scale", "tensorize"]
BLOCKS = {"count": {"is_metadata": True}}


def pipeline(**more) -> dict:
    return {"input_dir": "in", "cohort_dir": "out", "stages": STAGES, "stage_configs": BLOCKS, **more}


def kept(**more) -> list[str]:
    return [stage for stage, one in intermediates(pipeline(**more)).items() if one.is_kept]


def test_data_that_a_later_stage_reads_are_intermediate():
    found = intermediates(pipeline())
    assert {stage: sorted(one.readers) for stage, one in found.items()} == {
        "filter": ["count", "scale"],
        "scale": ["tensorize"],
    }
    assert str(found["filter"].folder) == "out/filter"


@pytest.mark.parametrize("folder", ["out/filter/", "./out/filter", "out/filter/train"])
def test_a_stage_that_is_told_to_read_data_of_another_counts_however_it_is_written(folder):
    blocks = {"tensorize": {"data_input_dir": folder}}
    found = intermediates(pipeline(stage_configs=BLOCKS | blocks))
    assert sorted(found["filter"].readers) == ["count", "scale", "tensorize"]


@pytest.mark.parametrize(
    ("event_file", "readers"),
    [
        ("t: {lab: {code: $code, time: null, _metadata: {desc: {description: $d}}}}", {"extract_code_metadata"}),
        ("t: {lab: {code: $code, time: null}}", set()),
        ("t: {lab: {code: col(code), time: null, _metadata: {desc: {description: d}}}}", set()),
    ],
    ids=["described by chunks", "nothing described", "the older language"],
)
def test_chunks_that_describe_codes_are_read_by_the_stage_that_does(tmp_path, event_file, readers):
    (tmp_path / "events.yaml").write_text(event_file)
    stages = ["shard_events", "convert_to_sharded_events", "merge", "extract_code_metadata", "finalize"]
    blocks = {"extract_code_metadata": {"is_metadata": True}}
    found = intermediates(
        pipeline(stages=stages, stage_configs=blocks, event_conversion_config_fp=str(tmp_path / "events.yaml"))
    )
    assert {*found["shard_events"].readers} == {"convert_to_sharded_events"} | readers


def test_the_last_data_are_results_though_a_metadata_stage_reads_them():
    found = intermediates(pipeline(stages=["filter", "scale", "count"]))
    assert {stage: sorted(one.readers) for stage, one in found.items()} == {"filter": ["scale"]}


@pytest.mark.parametrize(("keep", "stay"), [(True, ["filter", "scale"]), (False, []), ("last", ["scale"])])
def test_the_pipeline_says_what_is_kept(keep, stay):
    assert kept(keep_intermediates=keep) == stay


def test_a_block_goes_before_the_pipeline():
    blocks = BLOCKS | {"filter": {"keep_intermediates": True}, "scale": {"keep_intermediates": False}}
    assert kept(keep_intermediates="last", stage_configs=blocks) == ["filter"]
    assert kept(stage_configs=blocks) == ["filter"]


def test_nothing_is_intermediate_where_folders_cannot_be_told():
    assert intermediates({"input_dir": "in"}) == {}
