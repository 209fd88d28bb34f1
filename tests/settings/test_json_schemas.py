"""The JSON Schemas for editors: current, and in agreement with what the scripts accept."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from MEDS_transforms.extract.event_file.read import read_event_file
from MEDS_transforms.settings.declarations import read_keys
from MEDS_transforms.settings.json_schemas import dataset_schema, event_schema, pipeline_schema, write_schemas
from MEDS_transforms.settings.packaged import CONFIG_DIR
from MEDS_transforms.stages import packaged_blocks

ROOT = Path(__file__).parents[2]
PIPELINES = [*(ROOT / "configs").glob("*ing.yaml"), *(ROOT / "configs").glob("extraction.yaml")]


def mistakes(schema, text):
    errors = Draft202012Validator(schema).iter_errors(yaml.safe_load(text))
    return [best_match([error]).json_path for error in errors]


def test_the_published_schemas_are_current(tmp_path):
    write_schemas(tmp_path, packaged_blocks())
    for path in tmp_path.iterdir():
        published = ROOT / "docs" / "schemas" / path.name
        remedy = "run: python -m MEDS_transforms.settings.json_schemas docs/schemas"
        assert published.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), remedy


@pytest.mark.parametrize(
    "schema",
    [pipeline_schema(packaged_blocks()), event_schema(), dataset_schema()],
    ids=["pipeline", "events", "dataset"],
)
def test_they_are_schemas(schema):
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_pipelines_to_copy_are_valid_and_name_the_schema(path):
    text = path.read_text(encoding="utf-8")
    assert mistakes(pipeline_schema(packaged_blocks()), text) == []
    assert text.startswith("# yaml-language-server: $schema=../docs/schemas/pipeline.json\n")


def test_variables_to_copy_are_valid_and_name_the_schema():
    text = (ROOT / "configs" / "dataset.yaml").read_text(encoding="utf-8")
    assert mistakes(dataset_schema(), text) == []
    assert text.startswith("# yaml-language-server: $schema=../docs/schemas/dataset_variables.json\n")


@pytest.mark.parametrize(
    ("text", "where"), [("birth_code: 3", "$.birth_code"), ("admission_codes: {like: A}", "$.admission_codes")]
)
def test_mistakes_in_the_variables_of_a_dataset(text, where):
    assert set(mistakes(dataset_schema(), text)) == {where}


@pytest.mark.parametrize("name", ["_extract", "_preprocess", "_pipeline"])
def test_packaged_pipelines_are_valid(name):
    assert mistakes(pipeline_schema(packaged_blocks()), (CONFIG_DIR / f"{name}.yaml").read_text()) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("seed: x", "$.seed"),
        ("stage_configs: {filter_subjects: {min_events_per_subject: many}}", "min_events_per_subject"),
        ("stage_configs: {filter_subjects: {min_event_per_subject: 3}}", "$.stage_configs.filter_subjects"),
        ("stage_configs: {add_time_derived_measurements: {age: {age_code: 3}}}", ".age.age_code"),
    ],
)
def test_mistakes_in_a_pipeline(text, where):
    [path] = mistakes(pipeline_schema(packaged_blocks()), text)
    assert path.endswith(where)


@pytest.mark.parametrize(
    "text",
    [
        "do_overwrite: yes\nown: 3\nstage_configs:",
        "stage_configs: {filter_subjects: , mine: {n: 3}, extract_values: {text_value: [a, b]}}",
        "stage_configs: {filter_subjects: {min_events_per_subject: '${oc.env:N}', _own: 1}}",
    ],
)
def test_pipelines_without_a_mistake(text):
    assert mistakes(pipeline_schema(packaged_blocks()), text) == []


EVENTS = """
subject_id_col: mrn
subject_ids: hash
separator: ";"
patients:
  subject_id: patient
  separator: "|"
  optional: yes
  null_values: [NA]
  dtypes: {weight: float}
  join: {table: visits, "on": visit, columns: [weight]}
  sex: {code: [SEX, col(sex), 3], time: null}
  birth: {code: BIRTH, time: col(born), time_format: ["%Y", "%Y-%m"], numeric_value: weight, own: column}
labs:
  separator: {code: SEPARATOR, time: null}
  bp: {code: [BP, {extract: {from: bp, regex: (x)}}], time: {time: {from: at, format: "%Y"}}, where: {bp: {regex: "/"}}}
  lab: {code: LAB, time: col(at), _metadata: {d_labs: {description: "{a} {b}", parent_codes: [x, y]}}}
"""


def assert_refused_by_both(folder, text, said):
    """By the schema and by the stages."""
    (folder / "events.yaml").write_text(text)
    assert mistakes(event_schema(), text)
    with pytest.raises(ValueError, match=said):
        read_event_file(folder / "events.yaml")


def test_an_event_file_as_the_stages_read_it(tmp_path):
    (tmp_path / "events.yaml").write_text(EVENTS)
    assert read_event_file(tmp_path / "events.yaml")
    assert mistakes(event_schema(), EVENTS) == []


@pytest.mark.parametrize(
    "event",
    [
        "{time: null}",
        "{code: A}",
        "{code: [], time: null}",
        "{code: A, time: at}",
        '{code: A, time: col(at), time_format: "2020"}',
        "{code: A, time: null, numeric_value: 3}",
        "{code: A, time: null, _metadata: [d_labs]}",
        "{code: A, time: null, where: [a]}",
    ],
)
def test_mistakes_in_an_event_file_are_those_of_the_stages(tmp_path, event):
    assert_refused_by_both(tmp_path, f"labs:\n  lab: {event}\n", r"labs\.lab")


@pytest.mark.parametrize(
    "option", ['separator: ";;"', "decimal: x", "null_values: NA", "dtypes: {a: date}", "numbers: 3", "join: visits"]
)
def test_mistakes_in_options_are_those_of_the_stages(tmp_path, option):
    text = f"labs:\n  {option}\n  lab: {{code: A, time: null}}\n"
    assert_refused_by_both(tmp_path, text, rf"labs\.{option.partition(':')[0]}")


def test_the_demo_and_the_benchmark_are_valid():
    for path in (ROOT / "examples" / "demo" / "event_cfgs.yaml", ROOT / "benchmarks" / "event_cfgs.yaml"):
        assert mistakes(event_schema(), path.read_text(encoding="utf-8")) == []
    assert read_keys(CONFIG_DIR / "_event.yaml")["event"].keys["code"].default == "???"
