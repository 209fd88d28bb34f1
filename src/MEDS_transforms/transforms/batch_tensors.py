"""Writes padded batches to files, once and for all, so that training only loads them.

Which subjects a batch has, in which order, and which part of each, is decided once for every epoch. That depends on the
subjects, the settings and the pipeline's seed alone: the files are the same for any number of workers and any shards.
Workers share the batches; a worker visits the shards one after the other for many batches at a time, with a few hundred
megabytes of memory at most.

Input: the tensors of tensorization, and the schemas of tokenization (see `schemas_dir`). An item is a subject that has
an event; with `labels_fp` it is a label: the events until its prediction_time, that time included. Labels of subjects
that are in no shard, or have no event at all, and labels without a value are left out; how many is in the accounting.

Output: `<output_dir>/<split>/epoch=<e>/<n>.safetensors`, both counted from 0, with the tensors of B items; L is the
number of measurements of the longest, S the largest number of static measurements:
  - code (int32, B×L), numeric_value (float32, B×L; 0 if missing or infinite), numeric_value_mask (bool, B×L: whether
    there is one), mask (bool, B×L: false for padding, which is 0 everywhere and the number of no code);
  - time_delta_days (float32, B×L): days since the event before, in the first measurement of an event; else 0, as in a
    subject's first event;
  - static_code (int32, B×S), static_numeric_value (float32, B×S), static_numeric_value_mask, static_mask (bool, B×S);
  - subject_id (int64, B); with labels prediction_time (int64, B, microseconds since 1970) and label (bool, int64 or
    float32, B), if there are values.

With `form: nested` there are E events of at most M measurements instead: code, numeric_value, numeric_value_mask, mask
are B×E×M; time_delta_days and event_mask (bool) are B×E. `<output_dir>/batches.json` says what the batches are, and
how many. `MEDS_transforms.tensors.fixed_batches.read_batches` reads them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors.numpy import save

from ..cli.script import stage_script
from ..dataset.schema import CATEGORICAL_VALUE, CODE, NUMERIC_VALUE, SUBJECT_ID
from ..dataset.tensor_files import SUFFIX, Tensor
from ..errors import InputError, MissingInputError, listed, nearest
from ..mapreduce.accounting import OUT
from ..mapreduce.figures import FILES, ROWS
from ..mapreduce.flow import Form
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.checks import checked_value
from ..settings.folders import stage_folders
from ..settings.layout import BATCHES_FILE, SCHEMAS_DIR, TOKENIZATION
from ..settings.plain import plain
from ..tensors.fixed_batches import batch_path
from ..tensors.fixed_items import Ints, Items, items_of
from ..tensors.labels import PREDICTION_TIME, Labels, read_labels
from ..tensors.padding import MASK, Lists, Parts, Tensors, cut_events, cut_measurements
from ..tensors.shards import Shard
from ..work.accounts import Account
from ..work.claims import Staged, Unit
from ..work.sources import Source, check_not_freed

FORMS = {Form.TENSORS: Form.BATCHES}

KEYS = ("batch_size", "max_length", "form", "window", "n_epochs", "shuffle", "drop_last", "splits", "labels_fp")

LABEL = "label"
_STAGE = "batch_tensors"
_CUTS = {"flat": cut_measurements, "nested": cut_events}
_CELLS_AT_A_TIME = 2**24
"""Measurements (nested: events) of the batches that a worker makes at a time; each takes about 14 bytes, twice."""
_UNITS = 32
"""Into how many pieces an epoch is cut at least, if there are as many batches, so that many workers share them. For
each piece all shards of the split are looked at."""
_LARGEST_CODE = 2**31 - 1


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    read_settings(plain(cfg["stage_cfg"]))


def read_settings(stage_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the stage's own keys.

    Raises:
        InputError: one is not what its key allows, or there is no such table of labels.
    """
    settings = {key: checked_value(_STAGE, stage_cfg, key) for key in KEYS}
    if (path := settings["labels_fp"]) and not Path(path).exists():
        raise MissingInputError(f"There are no labels {path} (labels_fp)", remedy="Check the path.")
    return settings


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    batching = Batching(cfg)
    with batching.outputs.being_made(batching.units):
        map_units(batching.units)


@dataclass(frozen=True, eq=False)
class Split:
    """A split: its name, its shards and its items."""

    name: str
    shards: Sequence[Shard]
    items: Items

    @cached_property
    def static(self) -> list[Lists]:
        """The static measurements of the subjects of each shard: few beside the others, and read once."""
        return [static_lists(shard) for shard in self.shards]

    def parts(self, chosen: Ints, cut: Any) -> tuple[Parts, Lists]:
        """The parts, and static measurements, of some items, in their order; each shard is opened once.

        `cut` gives those of a shard, for some of the chosen items.
        """
        of_shard = np.argsort(self.items.shards[chosen], kind="stable")
        numbers, starts = np.unique(self.items.shards[chosen][of_shard], return_index=True)
        found = list[tuple[Parts, Lists]]()
        for number, places in zip(numbers, np.split(of_shard, starts[1:]), strict=True):
            here = chosen[places]
            shard = replace(self.shards[number])  # which is closed again
            found.append((cut(shard, here), self.static[number].take(self.items.rows[here])))
        back = np.argsort(of_shard, kind="stable")
        parts, static = zip(*found, strict=True)
        return Parts.together(parts).take(back), Lists.together(static).take(back)


def static_lists(shard: Shard) -> Lists:
    """The static measurements of the subjects of a shard."""
    static = replace(shard).static  # so that the files are closed again
    columns = {CODE: as_int32(static.code), NUMERIC_VALUE: static.numeric_value.astype(np.float32)}
    return Lists(np.diff(static.bounds), columns)


def as_int32(codes: Tensor) -> Tensor:
    """The codes as int32, the smallest type that PyTorch takes for the rows of an embedding.

    Raises:
        InputError: they are no vocabulary indices, or too large.
    """
    if codes.size and codes.dtype.kind not in "iu":
        raise InputError(f"Static {CODE}s must be vocabulary indices. Run normalization before tokenization.")
    if codes.max(initial=0) > _LARGEST_CODE:
        raise InputError(f"{CODE} {codes.max()} is too large: vocabulary indices must be below 2^31.")
    return codes.astype(np.int32)


def with_values(tensors: Tensors) -> Tensors:
    """The tensors with 0 for values that are missing or infinite, and a mask of those that are there."""
    there = np.isfinite(tensors[NUMERIC_VALUE]) & tensors[MASK]
    value = np.where(there, tensors[NUMERIC_VALUE], np.float32(0))
    return {**tensors, CODE: as_int32(tensors[CODE]), NUMERIC_VALUE: value, f"{NUMERIC_VALUE}_mask": there}


def _numeric_labels(path: str) -> Labels:
    """The labels in a table, or a folder of tables.

    Raises:
        InputError: they are texts, which no tensor holds.
    """
    labels = read_labels(path)
    if labels.values is not None and labels.values.dtype == object:
        what = f"has labels in {CATEGORICAL_VALUE}, which no tensor holds"
        raise InputError(what, path, "Number the categories, in integer_value.")
    return labels


class Batching:
    """The work of the stage: the index, and the batches of all splits and epochs.

    Raises:
        FileNotFoundError: there are no tensors, schemas or labels.
        ValueError: they do not fit each other, or the stage's block cannot be used.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        stage_cfg = plain(cfg["stage_cfg"])
        self.cfg, self.block = cfg, read_settings(stage_cfg)
        self.output_dir, self.tensors_dir = (Path(stage_cfg[key]) for key in ("output_dir", "data_input_dir"))
        self.schemas_dir, self.seed = schemas_dir(cfg), int(cfg.get("seed") or 0)
        source, labels_fp = Source(self.tensors_dir, SUFFIX), self.block["labels_fp"]
        sources = {"data": source, "schemas": Source(self.schemas_dir, ".parquet")}
        if labels_fp:
            path = Path(labels_fp)
            sources["labels"] = Source(path, ".parquet") if path.is_dir() else Source.of_files(path, whole=True)
        labels = _numeric_labels(labels_fp) if labels_fp else None
        self.splits = [self._split(name, shards, labels) for name, shards in self._shards(source).items()]
        self.outputs = stage_outputs(cfg, sources, own_folder=self.output_dir, settings={"seed": self.seed})
        # Of millions of items it takes a second; units of several splits come in turns.
        self.order = lru_cache(maxsize=len(self.splits))(Items.order)
        self.n_left_out = len(labels.subject_ids) - sum(len(s.items) for s in self.splits) if labels else 0

    def _shards(self, source: Source) -> dict[str, list[str]]:
        """The names of the shards of each split that is asked for, in order."""
        names = [name.removesuffix(SUFFIX) for name in source.files()]
        if not names:
            check_not_freed(source)
            raise MissingInputError(
                f"There are no tensors (*{SUFFIX}) below {self.tensors_dir}",
                remedy="Run tensorization before this stage, or correct its data_input_dir.",
            )
        by_split = dict[str, list[str]]()
        for name in sorted(names):
            parent = PurePosixPath(name).parent.as_posix()
            by_split.setdefault("" if parent == "." else parent, []).append(name)
        wanted = list(self.block["splits"] or by_split)
        for split in wanted:
            if split not in by_split:
                raise InputError(f"splits: there is no {split!r}{nearest(split, by_split)}; {listed(by_split)}.")
        return {split: by_split[split] for split in wanted}

    def _split(self, name: str, shards: list[str], labels: Labels | None) -> Split:
        found = [Shard(self.tensors_dir / f"{s}{SUFFIX}", self.schemas_dir / f"{s}.parquet") for s in shards]
        for shard in found:
            if not shard.schemas_fp.is_file():
                raise MissingInputError(
                    f"There is no {shard.schemas_fp}, which has the subjects of {shard.tensors_fp}",
                    remedy="Run tokenization, or correct schemas_dir.",
                )
        schemas = [shard.schemas_fp for shard in found]
        return Split(name, found, items_of(schemas, name or "the dataset", self.seed, self.block["shuffle"], labels))

    @cached_property
    def units(self) -> list[Unit]:
        """The index, then the batches, epoch by epoch, where each worker begins elsewhere."""
        return [self._index(), *(unit for epoch in range(self.block["n_epochs"]) for unit in self._epoch(epoch))]

    def n_batches(self, split: Split) -> int:
        """The number of batches of an epoch."""
        size: int = self.block["batch_size"]
        return len(split.items) // size if self.block["drop_last"] else -(-len(split.items) // size)

    def _epoch(self, epoch: int) -> Iterator[Unit]:
        units = dict[str, Unit]()
        for split in self.splits:
            n = self.n_batches(split)
            most = max(1, _CELLS_AT_A_TIME // (self.block["batch_size"] * self.block["max_length"]))
            step = max(1, min(most, -(-n // _UNITS)))
            for first in range(0, n, step):
                numbers = range(first, min(first + step, n))
                paths = [batch_path(self.output_dir, split.name, epoch, number) for number in numbers]
                make = partial(self._make, split, epoch, numbers, paths)
                source = f"the tensors in {self.tensors_dir / split.name}"
                units[f"{split.name}/{first}"] = self.outputs.unit(paths[0], make, source, outputs=paths)
        yield from (units[name] for name in shuffle_shards([*units], self.cfg))

    def _make(self, split: Split, epoch: int, numbers: range, paths: list[Path], scratch: Path) -> Staged:
        size = self.block["batch_size"]
        chosen = self.order(split.items, epoch)[numbers[0] * size : (numbers[-1] + 1) * size]
        parts, static = split.parts(chosen, partial(self._cut, split.items, epoch))
        staged, account = dict[Path, Path](), Account()
        for at, path in enumerate(paths):
            here = np.arange(at * size, min((at + 1) * size, len(chosen)))
            staged[path] = scratch / path.name
            batch = self._batch(parts.take(here), static.take(here), split.items, chosen[here])
            staged[path].write_bytes(save(batch))
        longest = self.block["max_length"]
        figures = {"items": len(chosen), "cut": int((parts.n_before > longest).sum())}
        figures["without_events"] = int((parts.n_before == 0).sum())
        account = {
            OUT: {FILES: len(paths), ROWS: int(parts.measurements.lengths.sum())},
            "batches": {split.name or "all": {"batches": len(paths), **figures}},
        }
        return Staged(staged, account)

    def _cut(self, items: Items, epoch: int, shard: Shard, chosen: Ints) -> Parts:
        """The windows of some items of a shard."""
        rows, times = items.rows[chosen], items.prediction_times
        n_events = None if times is None else shard.events_until(rows, times[chosen])

        def begin(spare: Ints) -> Ints:
            if self.block["window"] == "random":
                return (items.window_draws(epoch, chosen) % (spare + 1).astype(np.uint64)).astype(np.int64)
            return spare if self.block["window"] == "last" else np.zeros_like(spare)

        cut = _CUTS[self.block["form"]]
        return cut(shard.sequences, rows, n_events, self.block["max_length"], begin)

    def _batch(self, parts: Parts, static: Lists, items: Items, chosen: Ints) -> Tensors:
        tensors = with_values(parts.flat() if self.block["form"] == "flat" else parts.nested())
        tensors |= {f"static_{name}": tensor for name, tensor in with_values(static.padded()).items()}
        tensors[SUBJECT_ID] = items.subject_ids[chosen]
        if items.prediction_times is not None:
            tensors[PREDICTION_TIME] = items.prediction_times[chosen].astype(np.int64)
        if items.labels is not None:
            label = items.labels[chosen]
            tensors[LABEL] = label.astype(np.float32) if label.dtype.kind == "f" else label
        return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}

    def _index(self) -> Unit:
        path = self.output_dir / BATCHES_FILE
        keys = ("form", "batch_size", "max_length", "window", "shuffle", "drop_last", "n_epochs")
        splits = {s.name: {"items": len(s.items), "batches": self.n_batches(s)} for s in self.splits}
        index = {"version": 1, "padding": 0, "seed": self.seed, **{key: self.block[key] for key in keys}}

        def make(scratch: Path) -> Staged:
            text = json.dumps({**index, "splits": splits}, indent=1) + "\n"
            (scratch / BATCHES_FILE).write_text(text, encoding="utf-8")
            left_out = {"labels_left_out": self.n_left_out} if self.block["labels_fp"] else {}
            return Staged({path: scratch / BATCHES_FILE}, left_out)

        return self.outputs.unit(path, make, "the settings")


def schemas_dir(cfg: Mapping[str, Any]) -> Path:
    """The folder of the schemas: the one in the block, that beside what the tensors were made of, or their cohort's."""
    block = cfg["stage_cfg"]
    if named := block.get("schemas_dir"):
        return Path(named)
    tensors = Path(block["data_input_dir"])
    stages = stage_folders(cfg["input_dir"], cfg["cohort_dir"], cfg["stages"], cfg["stage_configs"]).values()
    made_of = [Path(stage["data_input_dir"]) for stage in stages if Path(stage["output_dir"]) == tensors]
    return (made_of[0] if made_of else tensors.parent / TOKENIZATION) / SCHEMAS_DIR


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
