"""The messages on the page of likely errors are those that appear when the mistake is made."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "troubleshooting.md"
MESSAGE = re.compile(r"<!-- message -->\n```output\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "[…]"

PIPELINE = """\
defaults: [_extract, _self_]
hydra:
  searchpath: [pkg://MEDS_transforms.configs]
input_dir: raw
cohort_dir: cohort
event_conversion_config_fp: events.yaml
etl_metadata: {dataset_name: example, dataset_version: "1"}
stage_configs:
  split_and_shard_subjects:
    split_fracs: {train: 1, tuning: null, held_out: null}
"""
EVENTS = """\
patients:
  sex:
    code: [SEX, col(sex)]
    time: null
labs:
  lab:
    code: [LAB, col(test)]
    time: col(taken)
    time_format: "%Y-%m-%d %H:%M"
    numeric_value: result
"""
PATIENTS = "subject_id,sex\n1,F\n2,M\n3,F\n"
LABS = "subject_id,taken,test,result\n1,2024-03-05 11:00,0389,4.1\n2,2024-03-19 00:30,0389,3.2\n"
TENSORS = """\
defaults: [_preprocess, _self_]
hydra:
  searchpath: [pkg://MEDS_transforms.configs]
input_dir: cohort
cohort_dir: tensors
"""
FILES = {
    "pipeline.yaml": PIPELINE,
    "events.yaml": EVENTS,
    "raw/patients.csv": PATIENTS,
    "raw/labs.csv": LABS,
    "tensors.yaml": TENSORS,
}
RUN = "MEDS_transforms run pipeline.yaml"


class Mistake(NamedTuple):
    """A file that is changed, by what it has then, and the command that fails; the last of several."""

    file: str | None = None
    content: str | bytes = ""
    command: str = RUN


MISTAKES = {
    "There is no pipeline file": Mistake(command="MEDS_transforms run pipelne.yaml"),
    "A file is not YAML": Mistake("pipeline.yaml", PIPELINE.replace("  split_and", "\tsplit_and")),
    "There is no such setting": Mistake(command=f"{RUN} inputdir=raw"),
    "A setting is not set": Mistake("pipeline.yaml", PIPELINE.replace("input_dir: raw\n", "")),
    "An environment variable is not set": Mistake("pipeline.yaml", PIPELINE.replace("raw\n", "${oc.env:RAW_TABLES}\n")),
    "A stage has no script": Mistake("pipeline.yaml", f"{PIPELINE}stages: [shard_evnts]\n"),
    "A stage has no such key": Mistake(
        "pipeline.yaml", f"{PIPELINE.replace('split_fracs', 'split_fractions')}strict: true\n"
    ),
    "A value is not allowed": Mistake("pipeline.yaml", f"{PIPELINE}  shard_events: {{row_chunksize: 1M}}\n"),
    "Fractions do not sum to 1": Mistake("pipeline.yaml", PIPELINE.replace("train: 1", "train: 0.9")),
    "Input and cohort are the same folder": Mistake(command=f"{RUN} cohort_dir=raw"),
    "There is no such table": Mistake("events.yaml", EVENTS.replace("labs:", "lab_results:")),
    "A table has no such column": Mistake("events.yaml", EVENTS.replace("col(test)", "col(tst)")),
    "All columns are in one": Mistake("raw/labs.csv", LABS.replace(",", ";")),
    "A column is named without `col()`": Mistake("events.yaml", EVENTS.replace("col(taken)", "taken")),
    "A time is text": Mistake("events.yaml", re.sub(" *time_format.*\n", "", EVENTS)),
    "Two languages in one file": Mistake("events.yaml", EVENTS.replace("[LAB, col(test)]", 'f"LAB//{$test}"')),
    "Times cannot be read": Mistake(
        "raw/labs.csv", LABS.replace("2024-03-19 00:30", "19.03.2024"), f"{RUN} limits.times_not_parsed=0"
    ),
    "A row has too many or too few fields": Mistake("raw/labs.csv", f"{LABS}3,2024-03-19 00:30,0389,3,2\n"),
    "A quote is not closed": Mistake("raw/labs.csv", f'{LABS}3,2024-03-19 00:30,"0389,3.2\n'),
    "A file is not UTF-8": Mistake("raw/patients.csv", PATIENTS.replace("F", "für").encode("cp1252")),
    "A value does not fit the dtype of its column": Mistake(
        "raw/labs.csv",
        f"{LABS}3,2024-03-19 00:30,0389,<5\n",
        f"{RUN} stage_configs.shard_events.infer_schema_length=1",
    ),
    "Subject ids are not whole numbers": Mistake("raw/patients.csv", PATIENTS.replace("1,F", "P-1,F")),
    "The outputs were made with other settings": Mistake(command=f"{RUN}; {RUN} seed=2"),
    "An earlier stage has not run": Mistake(
        command="MEDS_extract-merge_to_MEDS_cohort --config-dir=. --config-name=pipeline"
    ),
    "There is no dataset": Mistake(command="MEDS_transforms run tensors.yaml"),
    "The code metadata lack columns": Mistake(
        command=f"{RUN}; MEDS_transforms run tensors.yaml 'stages=[normalization]'"
    ),
    "A file is where a folder should be": Mistake("cohort", "not a folder"),
}


def messages() -> dict[str, str]:
    """The messages of the page by the heading above them."""
    _, *sections = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {section.partition("\n")[0]: MESSAGE.search(section)[1] for section in sections}


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def last_message(folder: Path, command: str) -> str:
    """What the last command prints from its first error on, without the folder in paths."""
    *before, last = command.split("; ")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("RAW_TABLES", None)
    for one in [*before, last]:
        ran = subprocess.run(
            ["bash", "-c", one], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert (ran.returncode == 0) == (one is not last), ran.stdout + ran.stderr
    printed = f"{ran.stdout}\n{ran.stderr}".replace(f"{folder}/", "")
    return printed[printed.index("error: ") :]


@pytest.mark.slow
@pytest.mark.parametrize("heading", MISTAKES)
def test_a_mistake_gives_the_message_of_the_page(heading, tmp_path):
    mistake = MISTAKES[heading]
    for name, content in {**FILES, **({mistake.file: mistake.content} if mistake.file else {})}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    printed = in_one_line(last_message(tmp_path, mistake.command))
    first, *others = [part.strip() for part in in_one_line(messages()[heading]).split(LEFT_OUT)]
    assert printed.startswith(first), printed
    assert all(part in printed for part in others), printed


def test_every_message_of_the_page_has_its_mistake():
    assert list(messages()) == list(MISTAKES)
    assert len(MISTAKES) == PAGE.read_text(encoding="utf-8").count("<!-- message -->") >= 20
