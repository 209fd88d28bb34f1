"""The variables of a dataset: where they come from, and what is said where they are wrong or missing."""

import subprocess
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from helpers import SCRIPTS, measurements, write_shards
from MEDS_transforms.errors import InputError, explain
from MEDS_transforms.settings.dataset_variables import load_dataset
from MEDS_transforms.settings.resolvers import load_yaml_file

ROOT = Path(__file__).parents[2]


def variables(folder, content):
    path = folder / "dataset.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_dataset(str(path))


def referring(to, dataset_fp=None):
    """A configuration whose key `code` refers to a variable."""
    dataset = "${load_dataset:${dataset_fp}}"
    return OmegaConf.create({"dataset_fp": dataset_fp, "dataset": dataset, "code": f"${{dataset.{to}}}"})


def test_without_a_file_there_are_the_defaults():
    assert load_dataset(None).birth_code == "MEDS_BIRTH"
    assert "admission_codes" not in load_dataset(None)


def test_a_file_sets_known_variables_and_its_own(tmp_path):
    got = variables(tmp_path, {"birth_code": "BORN", "wards": ["A", "B"], "admission_codes": {"regex": "^ADM"}})
    assert (got.birth_code, got.death_code, list(got.wards)) == ("BORN", "MEDS_DEATH", ["A", "B"])
    assert got.admission_codes == {"regex": "^ADM"}


def test_a_configuration_refers_to_them(tmp_path):
    variables(tmp_path, {"stay": {"code": "ADM"}})
    assert referring("stay.code", str(tmp_path / "dataset.yaml")).code == "ADM"
    assert load_yaml_file(None) == {}


def test_a_changed_file_is_read_again(tmp_path):
    assert variables(tmp_path, {"birth_code": "A"}).birth_code == "A"
    assert variables(tmp_path, {"birth_code": "BORN"}).birth_code == "BORN"


@pytest.mark.parametrize("name", ["admission_codes", "wards"])
def test_to_refer_to_what_is_set_nowhere_is_an_error(name):
    with pytest.raises(OmegaConfBaseException) as error:
        _ = referring(name).code
    assert explain(error.value) == (
        f"dataset.{name} is not set, and the configuration refers to it. Set it in the file that dataset_fp names."
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a", ["must map names of variables to values"]),
        ("", ["must map names of variables to values"]),
        ("1: a", ["must map names of variables to values"]),
        ("birth_code: 3", ["birth_code must be text, not 3"]),
        ("brith_code: BORN", ["brith_code: there is no such variable (did you mean 'birth_code'?)"]),
        ("admission_codes: {like: A}", ["admission_codes"]),
        ("split_fracs: {train: 2}", ["split_fracs.train must be"]),
        ("mine: {a: '${oc.env:HOME}'}", ["mine: must be a plain value"]),
        ("name: a\nname: b", ["duplicate key 'name'"]),
        ("birth_code: 3\nbirthcode: x", ["birth_code must be text", "no such variable"]),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, content, words):
    with pytest.raises(InputError) as error:
        variables(tmp_path, content)
    assert all(word in explain(error.value) for word in [*words, str(tmp_path / "dataset.yaml")])


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="dataset_fp"):
        load_dataset(str(tmp_path / "none.yaml"))


def problems_of(folder, variables):
    """What the runner says against the pipeline for training with a file of variables; without text there is none."""
    (folder / "variables.yaml").write_text(variables)
    names = f"dataset_fp={folder}/variables.yaml" if variables else f"dataset_fp={folder}/nowhere.yaml"
    command = [SCRIPTS / "MEDS_transform-runner", f"pipeline_config_fp={ROOT}/configs/training.yaml", names]
    write_shards(folder / "data/data", {"train/0": measurements((1, datetime(2020, 1, 1), "A", 1))})
    folders = [f"input_dir={folder}/data", f"cohort_dir={folder}/cohort"]
    ran = subprocess.run([*command, *folders], capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 1
    return ran.stderr.splitlines()[1:]


def test_of_a_missing_file_the_runner_says_nothing_but_that(tmp_path):
    [problem] = problems_of(tmp_path, "")
    assert "There is no file" in problem


def test_a_wrong_range_is_one_problem_and_stages_after_it_are_not_blamed(tmp_path):
    ranges = "value_ranges: [{code: A, min: 2, max: 1}]\nadmission_codes: B\ndischarge_codes: B\n"
    first, wrong = problems_of(tmp_path, ranges)
    assert "enforce_value_ranges: What is set for codes cannot be used" in first
    assert "ranges[0]: min is greater than max" in wrong
