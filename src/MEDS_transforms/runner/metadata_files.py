"""Files of the input's `metadata/` that a pre-processed cohort needs as well: copies that follow their sources."""

import json
import logging
import os
import shutil
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..settings.layout import CODES_FILE, DATASET_FILE, METADATA_DIR, SPLITS_FILE
from ..work.files import publish
from ..work.fingerprints import Fingerprint, fingerprint, fingerprint_or_none
from ..work.provenance import read_record, record_path, recorded_stages

logger = logging.getLogger(__name__)

BROUGHT_ALONG = (DATASET_FILE, SPLITS_FILE, CODES_FILE)
NOTE_FILE = ".brought_along"
"""In `log_dir`; which copies the runner has made, with size and checksum."""


def bring_along(
    input_dir: Path,
    cohort_dir: Path,
    log_dir: Path,
    made: Container[Path],
    overwrite: bool,
    splits_fp: Path | None = None,
) -> None:
    """Copies what a pre-processed cohort needs of its input's metadata and its stages have not made (`made`).

    `splits_fp`: the splits that the cohort's shards are of, where these are not the input's.

    A copy is made again where the source is another one now, or the copy was damaged. A file that is no such copy
    stays, unless it may be overwritten.
    """
    copies = copies_noted(log_dir)
    for name in BROUGHT_ALONG:
        source, target = (absolute(folder / METADATA_DIR / name) for folder in (input_dir, cohort_dir))
        source = absolute(splits_fp) if splits_fp and name == SPLITS_FILE else source
        if target in made or source == target:
            copies.pop(target, None)
        elif source.is_file() and _follows(source, target, copies.get(target), overwrite):
            copies[target] = fingerprint(source)
    if copies != copies_noted(log_dir):
        _note(copies, log_dir)


def former_makers(path: Path, stages: Container[str]) -> list[str]:
    """The stages that have made a file, and are no longer in the pipeline."""
    folder = path.parent
    records = {stage: read_record(folder, stage) for stage in recorded_stages(folder) if stage not in stages}
    return [stage for stage, record in records.items() if record and path.name in record.files]


def forget_makers(path: Path, makers: Sequence[str], log_dir: Path) -> None:
    """Removes the records of former makers of a file that is a copy now, which would pass for damaged."""
    if absolute(path) in copies_noted(log_dir):
        for stage in makers:
            record_path(path.parent, stage).unlink(missing_ok=True)


def _note(copies: Mapping[Path, Fingerprint], log_dir: Path) -> None:
    noted = {os.path.relpath(path, log_dir): [*copy] for path, copy in copies.items()}
    publish(log_dir / NOTE_FILE, lambda scratch: scratch.write_text(json.dumps(noted), encoding="utf-8"))


def _follows(source: Path, target: Path, copied: Fingerprint | None, overwrite: bool) -> bool:
    """Copies the source, if need be; whether the target is a copy of it now."""
    found = fingerprint_or_none(target)
    if found == fingerprint(source):
        return True
    if target.exists() and not copied and not overwrite:
        logger.warning(
            f"{target} differs from {source} and is no copy that the runner made, so it stays. To have it replaced, "
            "delete it, or give do_overwrite=True."
        )
        return False
    if found and copied and found != copied:
        logger.warning(f"{target} has changed since it was copied, and no stage made it: it is replaced.")
    publish(target, partial(shutil.copyfile, source))
    logger.info(f"Copied {source} to {target}.")
    return True


def copies_noted(log_dir: Path) -> dict[Path, Fingerprint]:
    """The copies that were made, as they were then."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        noted = json.loads((log_dir / NOTE_FILE).read_text(encoding="utf-8"))
        return {absolute(log_dir / name): Fingerprint(*copy) for name, copy in noted.items()}
    return {}


def absolute(path: Path) -> Path:
    """A path without `..`, to compare; links are not followed."""
    return Path(os.path.normpath(path.absolute()))
