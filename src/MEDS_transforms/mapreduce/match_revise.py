"""Match & revise: a stage applied to parts of each shard, to each part with settings of its own."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import polars as pl
from omegaconf import OmegaConf

from ..dataset.columns import internal
from ..dataset.dtypes import concat_with_common_dtypes
from ..dataset.io import Frame
from ..dataset.schema import SUBJECT_ID, TIME
from ..errors import InputError, listed
from ..parser import is_matcher, matcher_to_expr
from ..settings.folders import is_metadata_stage
from ..settings.plain import plain
from .compute import ComputeFn, bind_compute_fn

MATCH_REVISE_KEY = "_match_revise"
MATCHER_KEY = "_matcher"
MATCH_REVISE_MODE_KEY = "_match_revise_mode"


class MatchReviseMode(StrEnum):
    """Where a row goes that several entries match: to the first of them, or to all of them."""

    MATCH_AND_REVISE = "match_and_revise"
    MULTI_MATCH_AND_REVISE = "multi_match_and_revise"


def is_match_revise(stage_cfg: Mapping[str, Any]) -> bool:
    """Whether a stage's block asks for match & revise."""
    return bool(stage_cfg.get(MATCH_REVISE_KEY))


def validate_match_revise(stage_cfg: Mapping[str, Any]) -> None:
    """Checks the form of a match & revise block.

    Raises:
        ValueError: the stage makes metadata, the mode is unknown, the entries are not a list, or an entry is not a
            mapping, lacks its `_matcher` or has an invalid one.
    """
    if is_metadata_stage(stage_cfg):
        raise InputError(f"{MATCH_REVISE_KEY}: a metadata stage cannot match and revise; remove the key.")
    modes = [mode.value for mode in MatchReviseMode]
    mode = stage_cfg.get(MATCH_REVISE_MODE_KEY) or modes[0]
    if mode not in modes:
        raise InputError(f"{MATCH_REVISE_MODE_KEY}: {mode!r} is unknown; it must be one of {', '.join(modes)}.")
    entries = plain(stage_cfg[MATCH_REVISE_KEY])
    if not isinstance(entries, list):
        raise InputError(f"{MATCH_REVISE_KEY} must be a list, not {entries!r}.")
    for i, entry in enumerate(entries):
        where = f"{MATCH_REVISE_KEY}[{i}]"
        if not isinstance(entry, dict):
            raise InputError(f"{where} must be a mapping, not {entry!r}.")
        if MATCHER_KEY not in entry:
            raise InputError(f"{where} has no {MATCHER_KEY}: {entry!r}.")
        valid, why_not = is_matcher(entry[MATCHER_KEY])
        if not valid:
            raise InputError(f"{where}.{MATCHER_KEY} is not a valid matcher: {why_not}")


def check_revisions(cfg: Mapping[str, Any], check: Callable[[Mapping[str, Any]], object]) -> None:
    """Has the settings of a stage checked, or, with match & revise, those that each entry makes of them.

    Raises:
        InputError: as `validate_match_revise`, or what `check` finds wrong.
    """
    stage_cfg = plain(cfg["stage_cfg"])
    if not is_match_revise(stage_cfg):
        check(stage_cfg)
        return
    validate_match_revise(stage_cfg)
    settings = {k: v for k, v in stage_cfg.items() if k not in (MATCH_REVISE_KEY, MATCH_REVISE_MODE_KEY)}
    for entry in stage_cfg[MATCH_REVISE_KEY]:
        check(settings | {key: value for key, value in entry.items() if key != MATCHER_KEY})


def given(stage_cfg: Mapping[str, Any], key: str) -> list[Any]:
    """The distinct values of a key in a stage's block and in its entries of match & revise, without null."""
    entries = plain(stage_cfg.get(MATCH_REVISE_KEY)) or []
    values = [plain(block.get(key)) for block in (stage_cfg, *entries)]
    return [*dict.fromkeys(value for value in values if value is not None)]


def match_revise_fntr(
    cfg: Mapping[str, Any], stage_cfg: Mapping[str, Any], compute_fn: ComputeFn | None
) -> Callable[[Frame], pl.DataFrame]:
    """The function of one shard that applies a stage's function to the rows each entry matches.

    An entry's other keys override the stage's keys for its rows. The result has the entries' outputs in the
    order of the list, then the untouched rows, stably sorted by `subject_id` and `time`; columns are
    combined as in a diagonal concatenation.

    Raises:
        ValueError: as `validate_match_revise`; when applied, a matcher asks for a column that the shard lacks,
            or outputs have incompatible dtypes.
    """
    validate_match_revise(stage_cfg)
    settings = {k: v for k, v in plain(stage_cfg).items() if k not in (MATCH_REVISE_KEY, MATCH_REVISE_MODE_KEY)}
    mode = stage_cfg.get(MATCH_REVISE_MODE_KEY) or MatchReviseMode.MATCH_AND_REVISE
    first_only = mode == MatchReviseMode.MATCH_AND_REVISE
    revisions = []
    for entry in plain(stage_cfg[MATCH_REVISE_KEY]):
        matcher = matcher_to_expr(entry.pop(MATCHER_KEY))
        own_cfg = OmegaConf.create(settings | entry)
        revisions.append((*matcher, bind_compute_fn(cfg, own_cfg, compute_fn)))

    def revise(df: Frame) -> pl.DataFrame:
        # In memory, since each entry takes its rows of the same frame and rows must keep their order.
        frame = df.lazy().collect()
        _check_columns(frame, [columns for _, columns, _ in revisions])
        # Beside the data's columns, so that an empty matcher, a lone literal, is as long as they are.
        names = [internal(f"mask_{i}") for i in range(len(revisions))]
        masks = frame.with_columns(e.alias(n) for n, (e, _, _) in zip(names, revisions, strict=True)).select(names)
        untouched = pl.repeat(True, frame.height, eager=True)
        parts = []
        for mask, (_, _, revision) in zip(masks.get_columns(), revisions, strict=True):
            taken = mask & untouched if first_only else mask
            parts.append(revision(frame.filter(taken).lazy()).lazy().collect())
            untouched = untouched & ~mask
        return _together([*parts, frame.filter(untouched)])

    return revise


def _check_columns(frame: pl.DataFrame, wanted: list[set[str]]) -> None:
    for i, columns in enumerate(wanted):
        if missing := columns - set(frame.columns):
            raise InputError(
                f"{MATCH_REVISE_KEY}[{i}].{MATCHER_KEY}: the data has no column {listed(missing)}. "
                f"It has: {listed(frame.columns)}."
            )


def _together(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts one below the other, stably sorted by subject and time. Only numbers get a wider common dtype."""
    together = concat_with_common_dtypes(parts, f"the outputs of {MATCH_REVISE_KEY}", only_numbers=True)
    return together.sort(SUBJECT_ID, TIME, maintain_order=True, nulls_last=False)
