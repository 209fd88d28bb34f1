"""What a script asks of its process: output that may break, and any number of files."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from helpers import SCRIPTS, Preprocessing, measurements


@pytest.fixture
def x(tmp_path) -> Preprocessing:
    x = Preprocessing(tmp_path)
    x.write({"train/0": measurements((1, None, "A"), (2, None, "B"))})
    return x


def as_script(x: Preprocessing) -> list[str]:
    return x.arguments("filter_subjects")


def as_pipeline(x: Preprocessing) -> list[str]:
    (x.folder / "pipe.yaml").write_text(
        f"defaults: [_preprocess, _self_]\ninput_dir: {x.dataset}\ncohort_dir: {x.cohort}\nstages: [filter_subjects]\n"
    )
    return [str(SCRIPTS / "MEDS_transform-runner"), f"pipeline_config_fp={x.folder}/pipe.yaml"]


def into(output: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a program whose output has nowhere to go; its error output is kept."""
    if output == "closed":
        return run(["sh", "-c", 'exec "$@" >&-', "sh", *command], None)
    if output == "full":
        with Path("/dev/full").open("w") as full:
            return run(command, full.fileno())
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return run(command, writing)
    finally:
        os.close(writing)


def run(command, stdout: int | None, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **more
    )


def test_lines_with_characters_that_the_output_lacks_are_shown_all_the_same():
    """Where it is a batch job without a locale, say."""
    code = """
        import logging, sys
        from MEDS_transforms.cli.process import forgive_broken_output
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        forgive_broken_output()
        logging.warning("gr\\xf6\\xdfe")
    """
    ran = run([sys.executable, "-c", dedent(code)], subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (ran.stdout, ran.stderr) == ("gr\\xf6\\xdfe\n", "")


@pytest.mark.parametrize("command", [as_script, as_pipeline])
@pytest.mark.parametrize("output", ["full", "unread", "closed"])
def test_work_goes_on_where_its_output_cannot_be_written(x, command, output):
    ran = into(output, *command(x))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (x.cohort / "data/train/0.parquet").is_file()


@pytest.mark.parametrize("output", ["full", "unread", "closed"])
@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]])
def test_so_it_is_with_help_and_the_configuration(output, flags):
    ran = into(output, str(SCRIPTS / "MEDS_transform-filter_subjects"), *flags)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_status_of_a_failure_survives_a_full_output(x):
    ran = into("full", *x.arguments("filter_subjects", ".min_events_per_subject=many"))
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")


def limited(x: Preprocessing, n: int, soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    """Re-shards `n` shards with limits of open files."""
    x.write({f"{i}": measurements((i, None, "A")) for i in range(n)}, splits={"train": list(range(n))})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return run(x.arguments("reshard_to_split"), subprocess.PIPE, preexec_fn=limit)


@pytest.mark.parametrize(("soft", "hard"), [(64, 1024), (400, 400)])
def test_more_shards_than_files_that_may_be_open(tmp_path, soft, hard):
    x = Preprocessing(tmp_path)
    ran = limited(x, 500, soft, hard)
    assert ran.returncode == 0, ran.stderr
    assert pl.read_parquet(x.cohort / "data/train/0.parquet").height == 500
