"""Re-shards the dataset so that every shard holds subjects of one split.

The splits are those that split_subjects has made before it in the pipeline, else those of
`<input_dir>/metadata/subject_splits.parquet`; `splits_fp` names others. They are in the order in which they appear
there. Each is cut into shards at random; the same seed gives the same shards. Subjects that are in no split are left
out, with a warning.

Workers share the old shards: each is read once and its rows are grouped by new shard, in a file in a hidden folder
beside the output. Then they share the new shards, each of which is put together from its parts. A worker holds one old
or one new shard in memory.

Input: data shards of any names with the columns subject_id and time, and the splits.
Output: `<output_dir>/<split>/<n>.parquet`, rows sorted by subject and time; ties keep their order, those of an earlier
old shard (by name) come first. `<output_dir>/.shards.json`, the subjects of every shard.

The stage reads all splits: train_only is an error.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl

from ..cli.script import stage_script
from ..dataset.categories import in_texts
from ..dataset.columns import internal
from ..dataset.dtypes import concat_with_common_dtypes
from ..dataset.io import scan_parquet, shard_writer
from ..dataset.measurements import checked, in_order
from ..dataset.schema import SPLIT, SUBJECT_ID, TIME
from ..dataset.splits import Numbers, shard_subjects
from ..dataset.subjects import shard_numbers
from ..errors import InputError, MissingInputError, listed
from ..mapreduce.figures import count_data
from ..mapreduce.handover import hand_over, scan_shard
from ..mapreduce.interim import Interim, folder_of_maker, prepare_all
from ..mapreduce.mapper import Shards
from ..mapreduce.passes import PlannedStage
from ..mapreduce.plans import Others, Plan
from ..mapreduce.shard_work import only
from ..mapreduce.shards import shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import config_value
from ..settings.layout import SHARD_MAP_FILE
from ..settings.splits_in_force import SPLITS_FP, splits_in_force
from ..work.accounts import note, noting_on_the_way
from ..work.claims import Staged, Unit
from ..work.freeing import forget_interim
from ..work.outputs import StageOutputs
from ..work.sources import Source

logger = logging.getLogger(__name__)

_ROW, _N_ROWS, _SHARD = internal("row"), internal("n_rows"), internal("shard")
_SMALLEST_ROW_GROUP = 1000
_OPEN_AT_A_TIME = 256
"""Files: fewer than the 1,024 that a process may have open on most systems."""

ShardMap = dict[str, list[int]]


def plan(cfg: Mapping[str, Any]) -> Plan:
    """What the stage is to do."""
    return Resharding.of(cfg).plan


run = PlannedStage(plan, others=Others.PASSED_ON)


class Resharding:
    """The work of the stage: old shards to take apart, then new shards to put together.

    Args:
        cfg: the configuration of the stage.
        shards: the subjects of the new shards, by the names of these.
        old_shards: the files.
        outputs: those of the stage.
    """

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> "Resharding":
        """The work that a configuration asks for.

        Raises:
            FileNotFoundError: there are no splits, or no shards.
            ValueError: the splits or the stage's block cannot be used.
        """
        stage_cfg = cfg["stage_cfg"]
        splits_fp = Path(stage_cfg.get(SPLITS_FP) or splits_in_force(cfg).path)
        splits = read_splits(splits_fp)
        n_per_shard, seed = config_value(stage_cfg, "n_subjects_per_shard"), cfg.get("seed", 1)
        shards = shard_subjects(np.empty(0, np.int64), n_per_shard, splits, None, seed)
        old_shards = Shards(cfg)
        sources = {**old_shards.sources(None), "splits": Source.of_files(splits_fp)}
        own_folder = Path(stage_cfg["output_dir"])
        outputs = stage_outputs(cfg, sources, own_folder=own_folder, settings={"seed": seed}, count_out=count_data)
        return cls(cfg, shards, [in_fp for in_fp, _ in old_shards.paths], outputs)

    def __init__(self, cfg: Mapping[str, Any], shards: ShardMap, old_shards: list[Path], outputs: StageOutputs) -> None:
        self.cfg, self.shards, self.old_shards, self.outputs = cfg, shards, old_shards, outputs
        self.input_dir, self.output_dir = (Path(cfg["stage_cfg"][key]) for key in ("data_input_dir", "output_dir"))
        self._shard_of = shard_numbers(shards, _SHARD)
        self._parts: dict[tuple[str, ...], Parts] = {}

    @property
    def plan(self) -> Plan:
        """The work, for the pass that does it."""
        paths = {name: self.output_dir / f"{name}.parquet" for name in shuffle_shards([*self.shards], self.cfg)}
        return Plan(
            self.outputs,
            [self._shard_map(), *(self._shard(name, path) for name, path in paths.items())],
            frames={path: partial(self._rows_on_the_way, name) for name, path in paths.items()},
            passes_on=True,
            read=self.old_shards[0],
            clear_away=partial(forget_interim, self.output_dir, self.outputs.stage),
        )

    def parts(self, columns: Sequence[str] = ()) -> "Parts":
        """The old shards, taken apart; of all columns or, if they have them, just these."""
        key = tuple(columns)
        if key not in self._parts:
            folder = folder_of_maker(self.output_dir, self.outputs.stage, self.outputs.rows_by(columns))
            names = {in_fp: in_fp.relative_to(self.input_dir) for in_fp in sorted(self.old_shards)}
            write = partial(_write_parts, n_shards=len(self.shards))
            interims = [
                Interim(partial(self._apart, in_fp, key), folder / quote(name.as_posix(), safe=""), write)
                for in_fp, name in names.items()
            ]
            self._parts[key] = Parts(interims, len(self.shards))
        return self._parts[key]

    def rows(self, name: str, columns: Sequence[str] = ()) -> pl.DataFrame:
        """The rows of a new shard; if given, just of these columns, where there are all of them."""
        return put_together(self.parts(columns).of([*self.shards].index(name)))

    def _rows_on_the_way(self, name: str, columns: Sequence[str] = ()) -> pl.DataFrame:
        with noting_on_the_way(self.outputs.stage):
            return self.rows(name, columns)

    def _apart(self, in_fp: Path, columns: Sequence[str]) -> pl.DataFrame:
        try:
            return put_apart(only(scan_shard(in_fp), columns), self._shard_of, f"{in_fp.relative_to(self.input_dir)}")
        except Exception as error:
            error.add_note(f"This happened with {in_fp}.")
            raise

    def _shard(self, name: str, path: Path) -> Unit:
        write = shard_writer(self.output_dir)

        def make(scratch: Path) -> Staged:
            rows = self.rows(name)
            hand_over(path, rows)
            write(in_texts(rows), scratch / path.name)
            return Staged({path: scratch / path.name})

        return self.outputs.unit(path, make, f"the subjects of {name} in {self.input_dir}")

    def _shard_map(self) -> Unit:
        path = self.output_dir / SHARD_MAP_FILE

        def make(scratch: Path) -> Staged:
            (scratch / SHARD_MAP_FILE).write_text(json.dumps(self.shards), encoding="utf-8")
            return Staged({path: scratch / SHARD_MAP_FILE})

        return self.outputs.unit(path, make, "the splits")


class Parts:
    """Old shards, taken apart: in a file for each the rows grouped by the number of their new shard.

    Args:
        files: the files.
        n_shards: the number of new shards.
    """

    def __init__(self, files: Sequence[Interim], n_shards: int) -> None:
        self.files, self.n_shards = files, n_shards
        self._are_there = False
        self._starts: dict[Path, Numbers] = {}
        """Where the rows of each new shard begin in the files that were looked at."""

    def of(self, number: int) -> list[pl.DataFrame]:
        """The rows of a new shard in each old one. The first call takes these apart, which workers share."""
        if not self._are_there:
            prepare_all(self.files)
            self._are_there = True
        if number == 0:  # for all, so that it is told once
            for file in self.files:
                file.tell()
        found: list[pl.DataFrame] = []
        for start in range(0, len(self.files), _OPEN_AT_A_TIME):
            some = [file.path for file in self.files[start : start + _OPEN_AT_A_TIME]]
            scans = [scan_parquet(path).slice(*self._span(path, number)).drop(_SHARD) for path in some]
            found += pl.collect_all(scans)
        return found

    def _span(self, path: Path, number: int) -> tuple[int, int]:
        """Where the rows of a new shard begin in the file of an old one, and how many there are.

        NOTE: statistics of the row groups would tell this as well, but take a fifth of the time of writing.
        """
        if path not in self._starts:
            shards = scan_parquet(path).select(_SHARD).collect()[_SHARD].to_numpy()
            self._starts[path] = np.searchsorted(shards, np.arange(self.n_shards + 1, dtype=shards.dtype))
        first, last = self._starts[path][number : number + 2].tolist()
        return first, last - first


def read_splits(path: Path) -> dict[str, list[int]]:
    """The subjects of every split, both in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks a column, an id is not an integer, or no subject is in a split.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no {path}. Put the splits there, in the columns {SUBJECT_ID} and {SPLIT}.")
    table = pl.read_parquet(path, glob=False)
    if missing := [column for column in (SUBJECT_ID, SPLIT) if column not in table.columns]:
        raise InputError(f"{path} has no column {listed(missing)}; it has {listed(table.columns)}. Correct the file.")
    if not table.schema[SUBJECT_ID].is_integer():
        raise InputError(f"{path}: {SUBJECT_ID} must be an integer, not {table.schema[SUBJECT_ID]}. Correct the file.")
    known = table.select(pl.col(SUBJECT_ID).cast(pl.Int64), pl.col(SPLIT).cast(pl.String)).drop_nulls()
    if known.is_empty():
        raise InputError(f"{path}: no subject is in a split. Correct the file.")
    by_split = known.unique(maintain_order=True).partition_by(SPLIT, maintain_order=True, as_dict=True)
    return {str(key[0]): part[SUBJECT_ID].to_list() for key, part in by_split.items()}


def put_apart(df: pl.LazyFrame, shard_of: pl.DataFrame, where: str) -> pl.DataFrame:
    """The rows with the number of their new shard, sorted by it; rows of one new shard keep their order.

    Rows of a subject that is in several shards occur once for each; those of a subject in no shard are left out.
    """
    rows = checked(df, SUBJECT_ID, TIME).collect().rechunk()  # of one chunk rows are gathered in half of the time
    runs = rows[SUBJECT_ID].cast(pl.Int64).rle().struct.unnest()
    length = pl.col("len").cast(pl.Int64)
    runs = runs.select(
        pl.col("value").alias(SUBJECT_ID), (length.cum_sum() - length).alias(_ROW), length.alias(_N_ROWS)
    )
    placed = runs.join(shard_of, on=SUBJECT_ID, maintain_order="left_right").sort(_SHARD, maintain_order=True)
    if left_out := runs[SUBJECT_ID].n_unique() - placed[SUBJECT_ID].n_unique():
        logger.warning("%s: subjects in no split, left out: %d", where, left_out)
    kept = runs.join(placed, on=SUBJECT_ID, how="semi")[_N_ROWS].sum()
    note({"rows": {"left_out": rows.height - kept}})
    starts, lengths = placed[_ROW].to_numpy(), placed[_N_ROWS].to_numpy()
    shards = placed[_SHARD].gather(np.repeat(np.arange(placed.height), lengths))
    return rows[_rows_of_runs(starts, lengths)].with_columns(shards)


def _rows_of_runs(starts: Numbers, lengths: Numbers) -> pl.Series:
    """The numbers of the rows of some runs, one run after the other.

    >>> _rows_of_runs(np.array([7, 2]), np.array([2, 3])).to_list()
    [7, 8, 2, 3, 4]
    """
    before = np.cumsum(lengths) - lengths
    rows = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
    return pl.Series(rows, dtype=pl.get_index_type())


def put_together(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows of one new shard, sorted by subject and time; ties keep their order.

    Raises:
        ValueError: a column has incompatible dtypes in the old shards.
    """
    rows = concat_with_common_dtypes(parts, "the old shards").rechunk()
    parts.clear()
    # Each part is sorted, and no subject is in two parts, so sorting by subject is enough, and faster than by time too.
    return in_order(rows[np.argsort(rows[SUBJECT_ID].to_numpy(), kind="stable")])


def _write_parts(rows: pl.DataFrame, path: Path, n_shards: int) -> None:
    """Writes grouped rows in row groups of about one part each, so that a part can be read by itself."""
    group = max(rows.height // n_shards, _SMALLEST_ROW_GROUP)
    rows.write_parquet(path, compression="lz4", statistics=False, row_group_size=group)


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
