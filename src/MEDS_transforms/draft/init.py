"""`MEDS_transforms init`: looks at a folder of raw tables, and writes a draft of the two files of an extraction."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from ..errors import InputError, OutputsExistError, UserError, listed
from ..extract.event_file.read import read_event_file
from ..interrupts import put_off
from ..work.files import make_folder, publish
from .report import print_draft
from .tables import draft_folder
from .write import event_file_text, pipeline_file_text

EVENT_FILE, PIPELINE_FILE = "event_cfgs.yaml", "pipeline.yaml"
_ANY_FOLDER = {"raw", "data", "input", "tables"}


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Args:
        folder: the folder of raw tables.
        output_dir: the folder of the two files.
        cohort_dir: the folder of the dataset to be; None: `cohort` in `output_dir`.
        dataset_name: the name of the dataset; None: that of the folder of tables.
        subject_id: the column with subject ids; None: it is looked for.
        force: whether files that are there are replaced.
    """

    folder: Path
    output_dir: Path = Path()
    cohort_dir: Path | None = None
    dataset_name: str | None = None
    subject_id: str | None = None
    force: bool = False


def write_draft(request: Request, console: Console) -> None:
    """Writes an event conversion file and a pipeline file, and shows what is in them.

    Raises:
        OutputsExistError: one of the files is there.
        InputError: there are no tables, none has subjects, or some cannot be read. Nothing is written then.
    """
    event_file, pipeline_file = request.output_dir / EVENT_FILE, request.output_dir / PIPELINE_FILE
    if (there := [path for path in (event_file, pipeline_file) if path.exists()]) and not request.force:
        raise OutputsExistError(f"{listed(there)}: there already. Replace with --force, or name another --output-dir.")
    cohort_dir = request.cohort_dir or request.output_dir / "cohort"
    draft = draft_folder(request.folder, [cohort_dir.absolute(), cohort_dir], request.subject_id)
    pipeline = pipeline_file_text(
        request.folder.resolve(),
        cohort_dir.resolve(),
        event_file.resolve(),
        request.dataset_name or _name_of(request.folder.resolve()),
        draft.is_small,
    )
    events = event_file_text(draft, str(request.folder))
    with put_off():
        check_events(events, event_file)
        make_folder(request.output_dir)
        publish(event_file, partial(Path.write_text, data=events, encoding="utf-8"))
        publish(pipeline_file, partial(Path.write_text, data=pipeline, encoding="utf-8"))
    print_draft(console, draft, event_file, pipeline_file)


def check_events(events: str, event_file: Path) -> None:
    """Reads the draft once, elsewhere, so that one which the language does not allow leaves no file and no folder.

    Raises:
        InputError: it cannot be used; the message names the file that it was to be.
    """
    with TemporaryDirectory() as folder:
        scratch = Path(folder, event_file.name)
        scratch.write_text(events, encoding="utf-8")
        try:
            read_event_file(scratch)
        except UserError as error:
            raise InputError(f"Nothing is written. {str(error).replace(str(scratch), str(event_file))}") from error


def _name_of(folder: Path) -> str:
    """A name for the dataset: that of the folder of tables, or of the one around it."""
    return folder.parent.name if folder.name in _ANY_FOLDER and folder.parent.name else folder.name or "dataset"
