"""The outputs of a stage, from its configuration: where they are recorded, and all that decides what they are."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ..dataset.footers import rows_in
from ..errors import InputError
from ..settings.folders import INFERRED_STAGE_KEYS, stage_folders
from ..settings.intermediates import KEEP_INTERMEDIATES
from ..settings.keys import FORMER_CODE_MODIFIER_KEYS, flag
from ..settings.plain import plain
from ..settings.resolvers import get_package_version
from ..settings.secrets import replace_secrets
from ..stages import PACKAGE
from ..work.decisions import Asked
from ..work.fingerprints import fingerprint_or_none
from ..work.outputs import StageOutputs
from ..work.provenance import Maker, salt_of
from ..work.sources import Inputs, Source
from .accounting import Accounting, CountFn, Judge, nothing_found
from .figures import count_data

_CODE_MODIFIER_KEYS = ("code_modifiers", *FORMER_CODE_MODIFIER_KEYS)
_NO_SETTINGS = (INFERRED_STAGE_KEYS - {"train_only"}) | {"description", KEEP_INTERMEDIATES}


def stage_outputs(
    cfg: Mapping[str, Any],
    sources: Mapping[str, Source],
    *,
    folder: Path | None = None,
    own_folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    watched: Sequence[Path] = (),
    count_out: CountFn | None = None,
    count_in: CountFn = count_data,
    judge: Judge = nothing_found,
    keeps_codes: bool = False,
) -> StageOutputs:
    """The outputs of the running stage.

    Args:
        cfg: its configuration. All keys of the stage's block count as settings but folders, descriptions, and keys
            that begin with `_` other than those of match & revise; so do the code modifiers.
        sources: what it reads, by what that is to it.
        folder: where the record is; default: `output_dir`.
        own_folder: a folder of which later stages read all files; see `StageOutputs`.
        settings: what else decides what the outputs are.
        watched: files whose content is among the settings.
        count_out: counts what is in the outputs; see `Accounting`.
        count_in: counts what is in the shards that it reads; see `Accounting`.
        judge: finds what may be a mistake; see `Accounting`.
        keeps_codes: whether all of its rows are among those that it reads; see `Accounting`.

    Raises:
        FileNotFoundError, ValueError: inputs are not as the stage that made them left them.
    """
    stage_cfg = cfg["stage_cfg"]
    folder = folder or Path(stage_cfg["output_dir"])
    for source in sources.values():
        if own_folder and source.suffix is not None:
            check_apart(source.folder, own_folder)
    inputs, given = Inputs(sources, folder), _settings(cfg, settings or {}, folder)
    maker = Maker(f"{PACKAGE} {get_package_version()}", given, inputs.described())
    asked = Asked(maker, flag(cfg, "do_overwrite"), flag(cfg, "keep_existing"))
    stage = stage_name(cfg)
    others, account = _other_stages(cfg, stage), Accounting(cfg, stage, count_out, count_in, judge, keeps_codes)
    placed = partial(StageOutputs, folder, stage, asked, own_folder, watched, count_rows, others)
    return placed(settle=account.settle, unsettle=account.forget, inputs=inputs)


def stage_name(cfg: Mapping[str, Any]) -> str:
    """The name of the running stage."""
    return str(cfg.get("stage") or "map_over")


def _other_stages(cfg: Mapping[str, Any], stage: str) -> dict[str, list[Path]]:
    """The folders that the other stages of the pipeline write to; none where they cannot be told."""
    with suppress(Exception):  # a key of another stage's is not set, or there is no pipeline
        folders = stage_folders(cfg["input_dir"], cfg["cohort_dir"], cfg["stages"], cfg["stage_configs"])
        return {
            other: [Path(block[key]) for key in ("output_dir", "reducer_output_dir") if block[key]]
            for other, block in folders.items()
            if other != stage
        }
    return {}


def check_apart(read: Path, written: Path) -> None:
    """Raises a ValueError if a folder of which all files are read overlaps the one that is written."""
    source, target = read.resolve(), written.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise InputError(
            f"The stage reads all files of {read} and would write to {written}, so that it, or a later stage, "
            "would read its own outputs. Choose another output_dir, or another data_input_dir."
        )


def _settings(cfg: Mapping[str, Any], more: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    block = {
        key: value
        for key, value in plain(cfg["stage_cfg"]).items()
        if key not in _NO_SETTINGS and (not key.startswith("_") or key.startswith("_match_revise"))
    }
    modifiers = {key: plain(cfg[key]) for key in _CODE_MODIFIER_KEYS if cfg.get(key) is not None}
    block = replace_secrets(block, _written_block(cfg), partial(_checksum, folder))
    modifiers = replace_secrets(modifiers, cfg, partial(_checksum, folder))
    # As it comes back from a file, so that what was written down and what is now compare.
    settings: dict[str, Any] = json.loads(json.dumps({**block, **modifiers, **more}, default=str))
    return settings


def _written_block(cfg: Mapping[str, Any]) -> Any:
    """The stage's block as its author wrote it; where there is none, as it is."""
    blocks = cfg.get("stage_configs")
    block = blocks.get(cfg.get("stage")) if isinstance(blocks, DictConfig) else None
    return cfg["stage_cfg"] if block is None else block


def _checksum(folder: Path, value: Any, variables: Sequence[str]) -> str:
    """What stands for a value from the environment: slow to compute, so that a secret is not found by trying."""
    text = json.dumps(value, default=str, sort_keys=True).encode()
    check = hashlib.scrypt(text, salt=salt_of(folder), n=2**14, r=8, p=1, dklen=8).hex()
    return f"(from the environment: {', '.join(variables)}; checksum {check})"


def count_rows(paths: Sequence[Path]) -> list[int]:
    """The rows of each of some parquet files, by their footers."""
    return [rows_in(path) for path in paths]


def code_of(function: Callable[..., Any] | None) -> dict[str, str]:
    """The file that a function of the user's comes from, with its checksum: other code makes other outputs.

    Nothing for the functions of this package, whose version tells, and where there is no file.
    """
    while isinstance(function, partial):
        function = function.func
    if function is None or str(getattr(function, "__module__", "")).partition(".")[0] == PACKAGE:
        return {}
    try:
        path = Path(inspect.getsourcefile(function) or "")
    except TypeError:
        return {}
    found = fingerprint_or_none(path, whole=True) if path.is_file() else None
    return {"code": f"{path.name} {found.check}"} if found else {}
