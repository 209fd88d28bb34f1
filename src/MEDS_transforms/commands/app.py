"""The command `MEDS_transforms`: what it is followed by, and what then runs.

Each function here is one command: its parameters are the command line, its docstring the help, and its body calls the
part of the package that does the work, which is imported only then.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..validation.versions import MedsVersion
from .boundary import reporting_errors

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""For a command whose arguments are those of a Hydra application."""

app = typer.Typer(
    name="MEDS_transforms",
    help="Makes MEDS datasets of raw tables, and tensors of MEDS datasets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Settings = Annotated[
    list[str] | None, typer.Argument(metavar="PIPELINE.yaml [KEY=VALUE]", help="A pipeline file, and settings of it.")
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command that the command line names; errors become one message and exit status 1."""
    with reporting_errors():
        app(args)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of raw tables.")],
    output_dir: Annotated[Path, typer.Option(help="Where event_cfgs.yaml and pipeline.yaml are written.")] = Path(),
    cohort_dir: Annotated[
        Path | None, typer.Option(help="The folder of the dataset to be.", show_default="cohort in the output folder")
    ] = None,
    dataset_name: Annotated[
        str | None, typer.Option(help="The name of the dataset.", show_default="that of the folder of tables")
    ] = None,
    subject_id: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column with subject ids, if you know better.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Draft an event conversion file and a pipeline file from a look at raw tables."""
    from rich.console import Console

    from ..draft.init import Request, write_draft

    write_draft(Request(folder, output_dir, cohort_dir, dataset_name, subject_id, force), Console())


@app.command(context_settings=PASSED_ON)
def check(settings: Settings = None, as_json: Json = False) -> None:
    """Find what is wrong with a pipeline and its input, and say what it will do. Runs and writes nothing."""
    from ..runner.check import check_runner
    from .arguments import as_runner

    check_runner(as_runner(settings or [], "check")[1:], as_json)


@app.command(context_settings=PASSED_ON)
def run(
    settings: Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print how far stages are as lines of JSON.")] = False,
) -> None:
    """Run the stages of a pipeline file, in order; what is done is skipped. The same as MEDS_transform-runner."""
    from ..runner import main
    from .arguments import as_runner

    sys.argv = as_runner(settings or []) + (["progress=json"] if as_json else [])
    main()


@app.command()
def validate(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of a dataset, with data/ and metadata/.")],
    meds: Annotated[
        MedsVersion | None, typer.Option(help="The version of MEDS; default: that of dataset.json, or the installed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Check whether a folder is a valid MEDS dataset; the status is 1 where it is not."""
    from ..validation.report import run as print_validation

    if not print_validation(path, meds, as_json):
        raise typer.Exit(1)


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="The folder of a dataset, or of a stage's output.")],
    other: Annotated[Path | None, typer.Argument(help="Another one, to compare with it.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("report.html"),
    min_count: Annotated[int, typer.Option(min=0, help="Leave out codes and bars of fewer subjects.")] = 0,
) -> None:
    """Write a page about a dataset, its figures, charts and how it was made; of two datasets, what differs."""
    from ..report.needs import check_packages

    check_packages()
    from ..report.write import write_comparison, write_report

    if other is None:
        write_report(path, output, min_count)
    else:
        write_comparison(path, other, output, min_count)


@app.command()
def stages() -> None:
    """List all stages, of this package and of others that register some, a line each."""
    from .stage_table import print_stages

    print_stages()


@app.command(context_settings=PASSED_ON)
def clean(settings: Settings = None) -> None:
    """Remove the intermediate data of a pipeline that is done, and say how much that was."""
    from ..runner import main
    from .arguments import as_runner

    sys.argv = [*as_runner(settings or [], "clean"), "clean=True"]
    main()


@app.command(context_settings=PASSED_ON)
def demo(
    folder: Annotated[Path, typer.Argument(help="Is made if need be.")] = Path("demo"),
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]", help="Settings of both pipelines.")
    ] = None,
) -> None:
    """Make tables of a small hospital, a dataset of them and tensors of that; show these, and the commands for it."""
    from .demo import run_demo

    run_demo(folder, settings or [])


@app.command()
def configs(folder: Annotated[Path, typer.Argument(help="Is made if need be.")] = Path("configs")) -> None:
    """Put the pipelines and stage-runner files to copy into a folder; files that are there stay as they are."""
    from .to_copy import copy_configs

    copy_configs(folder)


@app.command()
def version() -> None:
    """Print the versions of this package and of those that results depend on."""
    from .versions import print_versions

    print_versions()


def check_extraction(args: Sequence[str] | None = None) -> None:
    """The script MEDS_extract-check."""
    command = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False)
    command.command(context_settings=PASSED_ON)(_check_extraction)
    with reporting_errors():
        command(args)


def _check_extraction(settings: Settings = None, as_json: Json = False) -> None:
    """Find what is wrong with an extraction, in seconds: the arguments are those of its stages."""
    from ..runner.check import check_extraction

    check_extraction(settings or [], as_json)
