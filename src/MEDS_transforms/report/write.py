"""Makes the reports: counts what is in the shards of datasets, reads what their stages left, writes the page."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ..errors import InputError
from .data_comparison import Pair, data_comparison
from .data_sections import data_sections
from .dataset import Dataset, find_dataset
from .page import write_page
from .parts import Section, counted
from .stage_accounts import read_stage_notes
from .stage_comparison import stage_comparison
from .stage_sections import stage_sections
from .summary import Summary, summarize
from .usage import read_usage


def write_report(path: Path, output: Path, min_count: int = 0) -> None:
    """Writes the report on the dataset in a folder.

    Raises:
        FileNotFoundError: there are no shards.
        ValueError: what is there are no measurements, or the output is a folder.
    """
    check_is_file(output)
    summary = summarize_visibly(find_dataset(path), min_count)
    root = summary.dataset.root
    sections = [*data_sections(summary), *stage_sections(summary.dataset, read_stage_notes(root), read_usage(root))]
    lines = [f"{path}: {counted(len(summary.dataset.shards), 'shard')}", privacy(min_count)]
    _publish(output, "Report on a MEDS dataset", summary.dataset.name, lines, sections)


def check_is_file(output: Path) -> None:
    """Raises an InputError where a folder has the name of the file to write."""
    if output.is_dir():
        raise InputError(f"{output} is a folder. Name the file to write: --output {output / 'report.html'}")


def privacy(min_count: int) -> str:
    """What the page says of figures of few subjects."""
    if min_count > 1:
        return f"Codes and bars of fewer than {min_count} subjects, least and greatest values are left out."
    return "Figures of few subjects are shown; --min-count leaves them out."


def summarize_visibly(dataset: Dataset, min_count: int) -> Summary:
    """The figures of a dataset, with a bar on a terminal that shows how far it is."""
    console = Console(stderr=True)

    def watch(shards: Iterable[Path]) -> Iterable[Path]:
        return track(
            shards, f"Reading {dataset.path}", console=console, transient=True, disable=not console.is_terminal
        )

    return summarize(dataset, min_count, watch)


def write_comparison(a: Path, b: Path, output: Path, min_count: int = 0) -> None:
    """Writes what differs between the datasets in two folders.

    Raises:
        FileNotFoundError: there are no shards.
        ValueError: what is there are no measurements, or the output is a folder.
    """
    check_is_file(output)
    datasets = find_dataset(a), find_dataset(b)
    of_a, of_b = (summarize_visibly(dataset, min_count) for dataset in datasets)
    names = ("A", "B")
    notes = read_stage_notes(datasets[0].root), read_stage_notes(datasets[1].root)
    usages = read_usage(datasets[0].root), read_usage(datasets[1].root)
    sections = [*data_comparison(Pair(of_a, of_b, names)), *stage_comparison(names, datasets, notes, usages)]
    lines = [f"{name}: {one.name} ({one.path})" for name, one in zip(names, datasets, strict=True)]
    title = " and ".join(dict.fromkeys(dataset.name for dataset in datasets))
    _publish(output, "What differs between two MEDS datasets", title, [*lines, privacy(min_count)], sections)


def _publish(output: Path, kind: str, title: str, lines: Sequence[str], sections: Sequence[Section]) -> None:
    write_page(output, kind, title, lines, sections)
    Console(stderr=True, highlight=False).print(f"The report is in {output}", soft_wrap=True, markup=False)
