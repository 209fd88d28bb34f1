"""Reads a vocabulary that is to be extended: its codes and their numbers, each of which must be one code's alone."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ..dataset.code_metadata import check_unique
from ..dataset.columns import columns, internal
from ..dataset.schema import CODE, VOCAB_INDEX
from ..errors import InputError, MissingInputError, Problems, listed, nearest
from ..settings.layout import CODES_FILE

FORMER = internal("former")
"""The column with the numbers that codes have in the vocabulary that is extended."""

_OF_OURS = "Name the codes.parquet that fit_vocabulary_indices made, or its folder"
_OTHER_KEY = "Give the code_modifiers with which it was made"


def former_path(extend_fp: str) -> Path:
    """The file that `extend_fp` names: itself, or the one in a folder."""
    path = Path(extend_fp)
    return path / CODES_FILE if path.is_dir() else path


def read_former(path: Path, key: Sequence[str]) -> pl.DataFrame:
    """The codes that have a number in a vocabulary: the key, and the number (Int64).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no vocabulary with this key, or codes or numbers are not unique.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no file {path} (extend_fp)", remedy=f"{_OF_OURS}.")
    try:
        codes = pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} (extend_fp) cannot be read as parquet: {error}", remedy=f"{_OF_OURS}.") from error
    problems = Problems(f"The vocabulary {path} (extend_fp) cannot be extended")
    for column in (column for column in [*key, VOCAB_INDEX] if column not in codes.columns):
        remedy = _OF_OURS if column in (CODE, VOCAB_INDEX) else _OTHER_KEY
        problems.add(f"there is no column {column}{nearest(column, codes.columns)}", remedy=remedy)
    dtype = codes.schema.get(VOCAB_INDEX, pl.Int64())
    if not dtype.is_integer():
        problems.add(f"{VOCAB_INDEX} must be an integer; it is {dtype}", remedy=_OF_OURS)
    problems.raise_if_any()
    number = pl.col(VOCAB_INDEX).cast(pl.Int64).alias(FORMER)
    former = codes.select(*columns(key), number).drop_nulls(FORMER)
    _check_numbers(former, problems)
    problems.raise_if_any()
    try:
        check_unique(former, key)
    except InputError as error:
        error.add_note(f"It is the vocabulary {path} (extend_fp). {_OTHER_KEY}.")
        raise
    return former.cast({CODE: pl.String})


def _check_numbers(former: pl.DataFrame, problems: Problems) -> None:
    number = former[FORMER]
    repeated = number.filter(number.is_duplicated()).unique().sort().to_list()
    if repeated:
        shown = "; ".join(f"{n}: {listed(former.filter(number == n)[CODE], 5)}" for n in repeated[:5])
        what = f"several codes have one number ({VOCAB_INDEX}): {shown}"
        problems.add(what, remedy="Give each code a number of its own")
    if wrong := former.filter(number < 1)[CODE].to_list():
        what = f"codes have numbers ({VOCAB_INDEX}) below 1: {listed(wrong)}"
        problems.add(what, remedy="Remove these rows: 0 stands for unknown codes")
