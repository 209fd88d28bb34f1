"""Splits that a user gives: a JSON file of lists of subjects, or a table with a row per subject."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingInputError
from ..work.files import read_json
from .schema import SPLIT, SUBJECT_ID
from .subject_tables import Ids, is_table, read_subject_table
from .subjects import subject_ids

EXTERNAL_SPLITS, EXTERNAL_SPLITS_JSON = "external_splits_fp", "external_splits_json_fp"
"""The keys that name the file; the second is that of release 0.1."""

Splits = dict[str, list[Any]]
"""Subject ids by split."""

_ADJECTIVES, _NOUNS = {int: "integer", str: "textual"}, {int: "integers", str: "texts"}


def external_splits_file(stage_cfg: Mapping[str, Any]) -> tuple[str, Path] | None:
    """The key that names the file, and the file; None where none is given.

    Raises:
        ValueError: both keys are given.
    """
    given = [key for key in (EXTERNAL_SPLITS, EXTERNAL_SPLITS_JSON) if stage_cfg.get(key) is not None]
    if len(given) > 1:
        raise InputError("both are given", ", ".join(given), f"Keep {EXTERNAL_SPLITS}, which takes all formats.")
    return (given[0], Path(stage_cfg[given[0]])) if given else None


def read_external_splits(stage_cfg: Mapping[str, Any], kind: type = int, ids: Ids = subject_ids) -> Splits | None:
    """The external splits of a stage; None where none are given.

    Args:
        stage_cfg: its block.
        kind: what ids are in JSON: `int` or `str`.
        ids: what makes ids of this kind of the column of a table.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else, or, in a table, a subject is in several splits.
    """
    if (given := external_splits_file(stage_cfg)) is None:
        return None
    key, path = given
    if not is_table(path):
        return _read_json(path, key, kind)
    by_split = read_subject_table(path, key, SPLIT, ids).partition_by(SPLIT, maintain_order=True, as_dict=True)
    return {str(split): part[SUBJECT_ID].to_list() for (split,), part in by_split.items()}


def _read_json(path: Path, key: str, kind: type) -> Splits:
    if not path.is_file():
        raise MissingInputError(f"There is no file {path} ({key})", remedy="Check the path.")
    must = f"The external splits {path} must be a JSON object of lists of {_ADJECTIVES[kind]} subject ids"
    try:
        splits = read_json(path)
    except ValueError as error:
        raise InputError(f"{must}: {error}") from None
    if not isinstance(splits, dict):
        raise InputError(f"{must}, not {type(splits).__name__}.")
    for split, ids in splits.items():
        if not isinstance(ids, list) or not all(isinstance(i, kind) and not isinstance(i, bool) for i in ids):
            raise InputError(f"{must}; the split {split!r} is not a list of {_NOUNS[kind]}.")
        if large := [i for i in ids if isinstance(i, int) and not -(2**63) <= i < 2**63]:
            raise InputError(f"{must}, of at most 64 bits; the split {split!r} has {large[0]}.")
    return splits
