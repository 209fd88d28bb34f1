"""Applies a function to every shard of a dataset: `map_over`."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.io import Frame, scan_parquet
from ..dataset.schema import CODE, SPLIT, SUBJECT_ID, TRAIN_SPLIT
from ..errors import MissingInputError
from ..settings.keys import flag
from ..settings.layout import CODES_FILE
from ..settings.splits_in_force import splits_in_force
from ..work.claims import Unit, rwlock_wrap
from ..work.outputs import StageOutputs
from ..work.sources import Source
from .accounting import CountFn
from .compute import CODE_METADATA, ComputeFn, bind_compute_fn, compute_fn_type, identity_fn, wants
from .figures import count_data
from .match_revise import given, is_match_revise, match_revise_fntr, validate_match_revise
from .passes import PlannedStage, carry_out, map_units
from .plans import Others, OthersOf, Plan, others_by
from .shard_work import ReadFn, ShardWork, WriteFn
from .shards import ShardPaths, shard_iterator
from .stage_outputs import code_of, stage_name, stage_outputs

__all__ = [
    "Shards",
    "bind_compute_fn",
    "compute_fn_type",
    "identity_fn",
    "is_match_revise",
    "map_over",
    "map_stage",
    "map_units",
    "match_revise_fntr",
    "read_and_filter_fntr",
    "rwlock_wrap",
    "validate_match_revise",
]

PARQUET = ".parquet"

ShardIteratorFntr = Callable[[Any], tuple[ShardPaths, bool]]


def map_over(
    cfg: Mapping[str, Any],
    compute_fn: ComputeFn | None = None,
    read_fn: ReadFn = scan_parquet,
    write_fn: WriteFn | None = None,
    shard_iterator_fntr: ShardIteratorFntr = shard_iterator,
    count_out: CountFn = count_data,
) -> list[Path]:
    """Applies `compute_fn` to every input shard and writes each result to its output path.

    Any number of workers may call it at the same time; each shard is computed by one of them, and shards that
    are there already are left alone.

    Args:
        cfg: needs `stage_cfg.data_input_dir`, `stage_cfg.output_dir` and, as used, `stage_cfg.metadata_input_dir`,
            `input_dir`, `do_overwrite`, `worker`, `code_modifiers`. With `stage_cfg.train_only` only subjects of
            the train split are looked at; with `stage_cfg._match_revise` the function is applied to parts of
            each shard.
        compute_fn: see `bind_compute_fn`; None copies.
        read_fn: makes a frame of an input path; by default a lazy scan.
        write_fn: writes a result to a path; by default a lazy or eager frame as parquet, see `shard_writer`.
        shard_iterator_fntr: from `cfg`, the pairs of input and output paths, and whether they are narrowed down
            to the train split.
        count_out: counts what is in the outputs, at the end, for the accounting; by default the rows, subjects and
            codes of parquet files.

    Returns:
        the output paths, in the order in which this worker visits them.

    Raises:
        FileNotFoundError: there is no input, or no `subject_splits.parquet` where one is needed.
        ValueError: the compute function, the match & revise block or a shard cannot be used.

    Examples:
        >>> def drop_static(df):
        ...     return df.filter(pl.col("time").is_not_null())
        >>> map_over(cfg, compute_fn=drop_static)  # doctest: +SKIP
    """
    plan = plan_map(cfg, compute_fn, read_fn, write_fn, shard_iterator_fntr, count_out)
    carry_out(plan)
    return [unit.claim_fp for unit in plan.units]


def plan_map(
    cfg: Mapping[str, Any],
    compute_fn: ComputeFn | None = None,
    read_fn: ReadFn = scan_parquet,
    write_fn: WriteFn | None = None,
    shard_iterator_fntr: ShardIteratorFntr = shard_iterator,
    count_out: CountFn = count_data,
    changes: Collection[str] = (),
    others: OthersOf = Others.NEEDED,
    reads: Collection[str] = (),
    takes_categories: bool = False,
) -> Plan:
    """What `map_over` with these arguments does.

    `changes`, `others` and `takes_categories` are explained at `ShardWork`, `reads` at `map_stage`.
    """
    shards, own_folder = Shards(cfg, shard_iterator_fntr), Path(cfg["stage_cfg"]["output_dir"])
    code, sources = code_of(compute_fn), shards.sources(compute_fn, reads)
    work = shards.work(compute_fn, read_fn, write_fn)
    if not is_match_revise(cfg["stage_cfg"]):
        work = replace(
            work, changes=changes, others=others_by(others, cfg["stage_cfg"]), takes_categories=takes_categories
        )
    keeps_codes = bool(work.changes) and {SUBJECT_ID, CODE}.isdisjoint(work.changes)
    outputs = stage_outputs(
        cfg, sources, own_folder=own_folder, settings=code, count_out=count_out, keeps_codes=keeps_codes
    )
    frames = {out_fp: partial(work.frame, in_fp, out_fp) for in_fp, out_fp in shards.paths} if work.is_plain else {}
    return Plan(
        outputs,
        shards.units(outputs, work),
        frames=frames,
        passes_on=work.others.are_passed_on,
        takes_frames=read_fn is scan_parquet,
    )


class Shards:
    """The input shards of a stage, where their results go, and what else is read to make these.

    Args:
        cfg: as for `map_over`.
        shard_iterator_fntr: see there.
    """

    def __init__(self, cfg: Mapping[str, Any], shard_iterator_fntr: ShardIteratorFntr = shard_iterator) -> None:
        self.cfg, self.stage_cfg = cfg, cfg["stage_cfg"]
        self.paths, only_train = shard_iterator_fntr(cfg)
        self.splits_fp = None
        if flag(self.stage_cfg, "train_only") and not only_train:
            self.splits_fp = _splits_fp(cfg)

    def sources(self, compute_fn: ComputeFn | None, files: Collection[str] = ()) -> dict[str, Source]:
        """What the stage reads, also from the files that these keys of its block name."""
        sources = {"data": _source_of([in_fp for in_fp, _ in self.paths], Path(self.stage_cfg["data_input_dir"]))}
        if wants(compute_fn, CODE_METADATA):
            sources[CODE_METADATA] = Source.of_files(Path(self.stage_cfg["metadata_input_dir"]) / CODES_FILE)
        if self.splits_fp:
            sources["splits"] = Source.of_files(self.splits_fp)
        named = {key: given(self.stage_cfg, key) for key in files}
        return sources | {key: Source.of_files(*map(Path, paths), whole=True) for key, paths in named.items() if paths}

    def work(
        self, compute_fn: ComputeFn | None, read_fn: ReadFn = scan_parquet, write_fn: WriteFn | None = None
    ) -> ShardWork:
        """What the stage does with each shard; without a `write_fn`, shards are written as those of a dataset."""
        bind = match_revise_fntr if is_match_revise(self.stage_cfg) else bind_compute_fn
        only = _in_train_split(self.splits_fp) if self.splits_fp else None
        bound = bind(self.cfg, self.stage_cfg, compute_fn)
        return ShardWork(Path(self.stage_cfg["output_dir"]), stage_name(self.cfg), bound, read_fn, write_fn, only)

    def units(self, outputs: StageOutputs, work: ShardWork) -> list[Unit]:
        """A unit of work for every shard."""
        return [outputs.unit(out_fp, partial(work.make, in_fp, out_fp), in_fp) for in_fp, out_fp in self.paths]


def _source_of(paths: list[Path], folder: Path) -> Source:
    """Inputs as a source: all files below a folder, where they are that, so that one more or less is a change."""
    if any(path.suffix != PARQUET for path in paths):
        return Source(folder, PARQUET)  # folders, say
    wanted = set(map(os.fspath, paths))
    for part in (folder, folder / TRAIN_SPLIT, Path(os.path.commonpath([path.parent for path in paths]))):
        whole = Source(part, PARQUET)
        if {f"{part}/{name}" for name in whole.files()} == wanted:
            return whole
    return Source.of_files(*paths)


def map_stage(
    compute_fn: ComputeFn,
    shard_iterator_fntr: ShardIteratorFntr = shard_iterator,
    cheap: bool = False,
    changes: Collection[str] = (),
    others: OthersOf = Others.NEEDED,
    reads: Collection[str] = (),
    takes_categories: bool = False,
) -> PlannedStage:
    """The `run(cfg)` of a stage that applies `compute_fn` to every shard; see `map_over`.

    `cheap` says that to compute its output takes less time than to write and read it. `changes` are the columns that it
    may make or change, if it leaves the others, and the order of the rows; see `ShardWork`. `others` is what it does
    with columns that not every MEDS file has, or a function that tells it by the stage's settings: where no stage needs
    them, data that are not kept are made without them.
    `reads` are the keys of its block that name files: another content of these makes other outputs. `takes_categories`
    says that it takes codes of data that are not kept as `dataset.categories`, where it does not match & revise.
    """
    plan = partial(
        plan_map,
        compute_fn=compute_fn,
        shard_iterator_fntr=shard_iterator_fntr,
        changes=changes,
        others=others,
        reads=reads,
        takes_categories=takes_categories,
    )
    return PlannedStage(plan, cheap, others)


def read_and_filter_fntr(filter_expr: pl.Expr, read_fn: ReadFn) -> ReadFn:
    """A `read_fn` that keeps only the rows for which `filter_expr` holds."""

    def read_and_filter(in_fp: Path) -> Frame:
        frame: Frame = read_fn(in_fp)
        return frame.filter(filter_expr)

    return read_and_filter


def _splits_fp(cfg: Mapping[str, Any]) -> Path:
    path = splits_in_force(cfg).path
    if not path.is_file():
        raise MissingInputError(
            f"There is no {path}: the stage looks at the train split only, and no shard is named after it",
            remedy="Put the splits there, or set train_only: false in the stage's block.",
        )
    return path


def _in_train_split(splits_fp: Path) -> pl.Expr:
    """Whether a row's subject is in the train split of the dataset."""
    splits = pl.read_parquet(splits_fp, glob=False)
    train = splits.filter(pl.col(SPLIT) == TRAIN_SPLIT)[SUBJECT_ID]
    return pl.col(SUBJECT_ID).is_in(train.implode())
