"""Finds the shards of a cohort that pre-processing has made."""

from pathlib import Path

from ..dataset.tensor_files import SUFFIX
from ..errors import InputError, MissingInputError, listed, nearest
from ..settings.layout import DATA_DIR, SCHEMAS_DIR
from .shards import Shard


def find_shards(tensors: Path, schemas: Path, split: str | None, in_memory: bool = False) -> list[Shard]:
    """The shards of a split, or of all, in the order of their names.

    Raises:
        InputError: there is no such split, or there are no tensors.
    """
    names = sorted(path.relative_to(tensors).with_suffix("") for path in tensors.rglob(f"*{SUFFIX}"))
    if not names:
        raise MissingInputError(
            f"there are no tensors (*{SUFFIX})",
            str(tensors),
            f"Give the cohort_dir of a pre-processing that ends with tensorization, or its {DATA_DIR} as `tensors`.",
        )
    splits = {name.parts[0] for name in names if len(name.parts) > 1}
    if split is not None and split not in splits:
        there = f"there are {listed(sorted(splits))}" if splits else "the shards are not in splits: leave split out"
        raise InputError(f"There is no split {split!r}{nearest(split, splits)} in {tensors}; {there}.")
    of_split = [name for name in names if split is None or (len(name.parts) > 1 and name.parts[0] == split)]
    return [Shard(tensors / f"{name}{SUFFIX}", schemas / f"{name}.parquet", in_memory) for name in of_split]


def folders_of(cohort: str | Path | None, tensors: str | Path | None, schemas: str | Path | None) -> tuple[Path, Path]:
    """The folders of the tensors and of the static data: those that are named, else where a cohort has them."""
    if cohort is None and (tensors is None or schemas is None):
        raise InputError("Give the folder of a cohort, or both `tensors` and `schemas`.")
    root = Path(cohort or "").expanduser()
    # Where other stages follow, such as batch_tensors, the data of the cohort are theirs.
    by_default = next(
        (root / name for name in (DATA_DIR, "tensorization") if _has_tensors(root / name)), root / DATA_DIR
    )
    return (
        Path(tensors).expanduser() if tensors else by_default,
        Path(schemas).expanduser() if schemas else root / "tokenization" / SCHEMAS_DIR,
    )


def _has_tensors(folder: Path) -> bool:
    return next(folder.rglob(f"*{SUFFIX}"), None) is not None
