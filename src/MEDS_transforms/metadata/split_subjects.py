"""Divides the subjects of a dataset anew among splits, also in strata, by groups, and beside splits that are given.

The data stay as they are: reshard_to_split, in the same pipeline, makes the shards of the new splits, and stages after
this one that look at the train split only take the new one. One worker does it for all.

- With `method: random` all subjects are drawn together, by the seed: those of extraction are the same splits as there.
- With `method: hash` each subject is drawn by itself, by a hash of its id with the seed (of its group's name, where it
  has one), so that subjects that come later move no others. The fractions are met in expectation only.
- With `stratify_by`, subjects with and without certain measurements are divided apart, so that each split has the same
  share of both, but for less than one subject. Of several matchers every combination is such a stratum.
- With `group_by` or `groups_fp`, the subjects of a group (a family, a site) are in the same split. At random, groups
  come the largest first, and each goes to the split that is furthest below its fraction, also in each stratum.
  Subjects without a group are groups of their own.
- Subjects of external splits are where these put them, with all of their groups; the others are divided.

Input: data shards with the column subject_id, and those that `stratify_by` and `group_by` name.
Output: `<output_dir>/subject_splits.parquet`: `subject_id` (int64), `split` (string); each subject once, split by split
in the order of `split_fracs`, then by id.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.arrow import SPLITS_SCHEMA
from ..dataset.external_splits import EXTERNAL_SPLITS, external_splits_file, read_external_splits
from ..dataset.io import write_arrow
from ..dataset.schema import SPLIT, SUBJECT_ID
from ..dataset.splits import HASH, RANDOM, check_fractions
from ..dataset.subject_tables import read_subject_table
from ..errors import InputError, Problems, counted
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import shard_iterator
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.layout import SPLITS_FILE
from ..settings.names import wrong_names
from ..settings.plain import plain
from ..work.claims import Staged
from ..work.sources import Source
from .subject_division import account_of, divided, with_given_splits, with_groups, without_unknown
from .subject_traits import GROUP, Traits

logger = logging.getLogger(__name__)

_TABLE_GROUP = "group"
"""The column of the table of groups."""


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    stage_cfg, problems = cfg["stage_cfg"], Problems("The subjects cannot be divided")
    external = given_splits(stage_cfg)
    fracs = plain(stage_cfg.get("split_fracs"))
    if external is None:  # else it may name all subjects, so that the fractions do not matter
        check_fractions(fracs)
    Traits.of(stage_cfg)
    problems.found += wrong_names([*(fracs or ()), *([] if external is None else external[SPLIT].unique())], "split")
    if _method(stage_cfg) == HASH and stage_cfg.get("stratify_by"):
        what = "has no effect with the method hash, which divides each subject by itself"
        problems.add(what, "stratify_by", "Remove it: shares are the same in expectation. Or choose the method random")
    if _method(stage_cfg) == HASH and cfg.get("seed", 1) is None:
        problems.add("must be a number for the method hash, not null", "seed")
    if stage_cfg.get("group_by") is not None and stage_cfg.get("groups_fp") is not None:
        problems.add("both are given", "group_by, groups_fp", "Keep one")
    problems.raise_if_any()
    given_groups(stage_cfg)


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    check(cfg)
    stage_cfg = cfg["stage_cfg"]
    out_fp, data_dir = Path(stage_cfg["output_dir"]) / SPLITS_FILE, Path(stage_cfg["data_input_dir"])
    paths = sorted(path for path, _ in shard_iterator(cfg)[0])
    sources = {"measurements": Source(data_dir, ".parquet")}
    if external := external_splits_file(stage_cfg):
        sources["external splits"] = Source.of_files(external[1], whole=True)
    if groups_fp := stage_cfg.get("groups_fp"):
        sources["groups"] = Source.of_files(Path(groups_fp), whole=True)

    def make(folder: Path) -> Staged:
        subjects, fracs = Traits.of(stage_cfg).read(paths), plain(stage_cfg.get("split_fracs"))
        if (groups := given_groups(stage_cfg)) is not None:
            subjects = with_groups(subjects, without_unknown(groups, subjects, "groups_fp"))
        if (given := given_splits(stage_cfg)) is not None:
            subjects = with_given_splits(subjects, without_unknown(given, subjects, EXTERNAL_SPLITS))
        splits = divided(subjects, fracs, _method(stage_cfg), cfg.get("seed", 1))
        write_arrow(splits.select(SUBJECT_ID, SPLIT), SPLITS_SCHEMA, folder / SPLITS_FILE)
        logger.info("%s: %d subjects in %d splits", out_fp, splits.height, splits[SPLIT].n_unique())
        return Staged({out_fp: folder / SPLITS_FILE}, account_of(splits, fracs))

    outputs = stage_outputs(cfg, sources, folder=out_fp.parent, settings={"seed": cfg.get("seed", 1)})
    units = [outputs.unit(out_fp, make, data_dir)]
    with outputs.being_made(units):
        map_units(units)


def _method(stage_cfg: Mapping[str, Any]) -> str:
    return str(stage_cfg.get("method") or RANDOM)


def given_groups(stage_cfg: Mapping[str, Any]) -> pl.DataFrame | None:
    """The groups of subjects by the table `groups_fp`: subject_id, group (String)."""
    path = stage_cfg.get("groups_fp")
    if path is None:
        return None
    return read_subject_table(Path(path), "groups_fp", _TABLE_GROUP, nulls=True).rename({_TABLE_GROUP: GROUP})


def given_splits(stage_cfg: Mapping[str, Any]) -> pl.DataFrame | None:
    """The external splits as a table: subject_id (Int64), split (String); None where there are none.

    Raises:
        ValueError: a subject is in several splits.
    """
    external = read_external_splits(stage_cfg)
    if external is None:
        return None
    rows = [(subject, split) for split, ids in external.items() for subject in dict.fromkeys(ids)]
    table = pl.DataFrame(rows, schema={SUBJECT_ID: pl.Int64, SPLIT: pl.String}, orient="row")
    if (twice := table.filter(pl.col(SUBJECT_ID).is_duplicated())).height:
        what = f"{counted(twice[SUBJECT_ID].n_unique(), 'subject')} in several splits, such as {twice[SUBJECT_ID][0]}"
        raise InputError(what, EXTERNAL_SPLITS, "Keep each subject in one split.")
    return table


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
