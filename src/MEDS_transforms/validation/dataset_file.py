"""Checks `dataset.json`."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from ..work.files import read_json
from .findings import Findings
from .standards import COLUMN_LISTS, CREATED_AT, MEDS_VERSION, Standard, is_known


def declared(path: Path) -> dict[str, Any]:
    """What a dataset says of itself; nothing where that cannot be read."""
    with suppress(OSError, ValueError):
        content = read_json(path)
        return content if isinstance(content, dict) else {}
    return {}


def check_dataset_file(path: Path, standard: Standard, in_data: Collection[str], findings: Findings) -> None:
    """Adds what is wrong with the description of a dataset.

    Args:
        path: of dataset.json.
        standard: the version of MEDS.
        in_data: the columns of the data.
        findings: to add to.
    """
    where = findings.name(path)
    try:
        content = read_json(path)
    except OSError as error:
        findings.add("unreadable", where, f"It cannot be read: {error.strerror}")
        return
    except ValueError as error:
        findings.add("unreadable", where, f"It is not JSON: {error}")
        return
    problems = list(Draft202012Validator(standard.dataset).iter_errors(content))
    for problem in problems:
        key = ".".join(map(str, problem.absolute_path))
        findings.add("dataset_json", where, f"{key}: {problem.message}" if key else problem.message)
    if not problems:
        _check_content(content, in_data, where, findings)


def _check_content(content: Mapping[str, Any], in_data: Collection[str], where: str, findings: Findings) -> None:
    if (made := content.get(CREATED_AT)) is not None and not _is_time(made):
        findings.add("created_at", where, f"{CREATED_AT} is no time in ISO 8601: {made!r}")
    follows = content.get(MEDS_VERSION)
    if follows is not None and not is_known(follows):
        findings.add("meds_version", where, f"{MEDS_VERSION} is {follows!r}, which is not known here")
    for key in COLUMN_LISTS:
        for name in dict.fromkeys(content.get(key) or []):
            if in_data and name not in in_data:
                findings.add("listed_column", where, f"{key} lists {name!r}, which is no column of the data")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
