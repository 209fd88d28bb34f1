"""Which files a stage reads and which it writes, and in which order a worker visits them."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..dataset.schema import TRAIN_SPLIT
from ..errors import InputError, MissingInputError, listed
from ..settings.folders import key_of
from ..settings.keys import flag
from ..settings.layout import DATA_DIR
from ..settings.names import check_names
from ..settings.splits_in_force import splits_in_force
from ..work.files import read_json
from ..work.sources import Source, check_not_freed

ShardPaths = list[tuple[Path, Path]]


def shuffle_shards(shards: list[str], cfg: Mapping[str, Any]) -> list[str]:
    """Shard names in the order in which the worker `cfg.worker` visits them, so that workers start apart.

    The order is that of the SHA-256 of worker and name; without a worker the clock makes one up.

    Examples:
        >>> shuffle_shards(["a", "b", "c"], {"worker": 1})
        ['b', 'c', 'a']
    """
    worker = cfg["worker"] if "worker" in cfg else time.time_ns()
    return sorted(shards, key=lambda shard: hashlib.sha256(f"{worker}{shard}".encode()).hexdigest())


def only_train(shards: list[str], cfg: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The shards of the train split where the stage is `train_only` and shards are named after splits.

    After split_subjects they are so only once reshard_to_split has run.
    """
    if flag(cfg["stage_cfg"], "train_only") and splits_in_force(cfg).are_newer_than_shards:
        return shards, False
    train = [shard for shard in shards if shard.startswith(f"{TRAIN_SPLIT}/")]
    if flag(cfg["stage_cfg"], "train_only") and train:
        return train, True
    return shards, False


def shard_iterator(
    cfg: Mapping[str, Any], out_suffix: str = ".parquet", in_prefix: str = ""
) -> tuple[ShardPaths, bool]:
    """Every parquet file below the stage's input folder, with where its result goes.

    Args:
        cfg: needs `stage_cfg.data_input_dir` and `stage_cfg.output_dir`; `worker` sets the order.
        out_suffix: the suffix of the results.
        in_prefix: look only below this subfolder of the input folder; names are relative to it.

    Returns:
        pairs of input and output path, and whether they were narrowed down to the train split.

    Raises:
        FileNotFoundError: there is no such file; the message lists what is there.
    """
    root = Path(cfg["stage_cfg"]["data_input_dir"])
    out_dir = Path(cfg["stage_cfg"]["output_dir"])
    in_dir = root / in_prefix
    source = Source(in_dir, ".parquet")
    shards = [name.removesuffix(".parquet") for name in source.files()]
    if not shards:
        check_not_freed(source)
        raise MissingInputError(
            f"There are no parquet files below {in_dir}. {_whats_there(root)}",
            remedy=f"Run the stage that writes them first, or correct {key_of(cfg, 'data_input_dir')}.",
        )
    names, includes_only_train = only_train(shards, cfg)
    pairs = [(in_dir / f"{n}.parquet", out_dir / f"{n}{out_suffix}") for n in shuffle_shards(names, cfg)]
    return pairs, includes_only_train


def shard_iterator_by_shard_map(cfg: Mapping[str, Any]) -> tuple[ShardPaths, bool]:
    """As `shard_iterator`, with the names from the JSON file at `shards_map_fp`; the inputs are folders.

    Raises:
        ValueError: `shards_map_fp` is not set, or its file holds no shard.
        FileNotFoundError: there is no such file.
    """
    root = Path(cfg["stage_cfg"]["data_input_dir"])
    out_dir = Path(cfg["stage_cfg"]["output_dir"])
    shards = list(read_shard_map(cfg))
    names, includes_only_train = only_train(shards, cfg)
    return [(root / n, out_dir / f"{n}.parquet") for n in shuffle_shards(names, cfg)], includes_only_train


def read_shard_map(cfg: Mapping[str, Any]) -> dict[str, list[int]]:
    """The shards of the cohort and their subjects, from the JSON file at `shards_map_fp`."""
    if not cfg.get("shards_map_fp"):
        raise InputError("shards_map_fp is not set: it must name the JSON file of the shards' subjects.")
    path = Path(cfg["shards_map_fp"])
    if not path.is_file():
        raise MissingInputError(f"There is no shard map {path}. Run split_and_shard_subjects first.")
    try:
        shards = read_json(path)
    except ValueError as error:
        raise InputError(
            f"The shard map {path} is not valid JSON ({error}). Run split_and_shard_subjects again."
        ) from None
    if not isinstance(shards, dict) or not shards:
        raise InputError(f"The shard map {path} holds no shards. Run split_and_shard_subjects again.")
    check_names(shards, "shard", f"The shard map {path} cannot be used")
    return shards


def _whats_there(folder: Path) -> str:
    if not folder.is_dir():
        above = folder.parent
        are_above = folder.name == DATA_DIR and (any(above.glob("*.parquet")) or any(above.glob("*/*.parquet")))
        hint = f", but {above} has parquet files: a dataset is the folder that has {DATA_DIR}/ in it"
        return f"The folder {folder} does not exist{hint if are_above else ''}"
    return f"{folder} holds: {listed(path.name for path in folder.iterdir())}"
