"""Where a stage reads and writes, which keys it knows, and the OmegaConf resolvers that tell the YAML files.

Importing this module registers the resolvers `current_script_name`, `populate_stage`, `get_script_docstring`,
`get_package_name`, `get_package_version` and `load_yaml_file`.
"""

import ast
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from .errors import listed, nearest

logger = logging.getLogger(__name__)

PACKAGE = __name__.partition(".")[0]
CONFIG_DIR = Path(__file__).parent / "configs"
EXTRACT_CONFIG_YAML = CONFIG_DIR / "_extract.yaml"
PREPROCESS_CONFIG_YAML = CONFIG_DIR / "_preprocess.yaml"
RUNNER_CONFIG_YAML = CONFIG_DIR / "_runner.yaml"
RESERVED_CONFIG_NAMES = {p.stem for p in (EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML, RUNNER_CONFIG_YAML)}

INFERRED_STAGE_KEYS = {
    "is_metadata",
    "data_input_dir",
    "metadata_input_dir",
    "output_dir",
    "reducer_output_dir",
    "train_only",
}
"""The keys of a stage's block that `populate_stage` fills in where the block does not set them."""

RUN_STARTED = "MEDS_TRANSFORMS_RUN_STARTED"
"""Environment variable with the time (seconds since 1970) at which a launcher, or the runner, began with a stage."""

SCRIPT_NAME = "MEDS_TRANSFORMS_SCRIPT_NAME"
"""Environment variable with the name of the script that launched this process."""

RESUMING = "MEDS_TRANSFORMS_RESUMING"
"""Environment variable that the runner sets: what is there comes from a run that was cut off, and is completed."""

JOURNAL = "MEDS_TRANSFORMS_JOURNAL"
"""Environment variable by which the runner names the folder where a stage's workers note their work."""

_LAUNCHERS = ("joblib.", "submitit.")

FREE_FORM_STAGES = {"extract_values"}
FORMER_CODE_MODIFIER_KEYS = ("code_modifier_cols", "code_modifier_columns")

Block = dict[str, Any]


class Script:
    """The running script, where one of the package's own entry points started it: its stage and its module."""

    running: "Script | None" = None

    def __init__(self, stage: str, module: str) -> None:
        self.stage = stage
        self.module = module


def current_script_name() -> str:
    """The stage that the running script is named after.

    A user's own console script is named after the module its `main` comes from, any other script after its
    file.

    NOTE: the program of a launched worker is the launcher's own; its environment tells the script's name.
    """
    if Script.running:
        return Script.running.stage
    program = sys.modules.get("__main__")
    spec = getattr(program, "__spec__", None)
    if spec is not None and spec.name.startswith(_LAUNCHERS) and SCRIPT_NAME in os.environ:
        return os.environ[SCRIPT_NAME]
    module: str = getattr(getattr(program, "main", None), "__module__", "__main__")
    name = Path(sys.argv[0]).stem.removeprefix("MEDS_extract-").removeprefix("MEDS_transform-")
    if module != "__main__":
        name = module.rpartition(".")[2]
    os.environ[SCRIPT_NAME] = name
    return name


def get_script_docstring() -> str:
    """What the running script says of itself: the docstring of its module, or of its `main` function.

    NOTE: the package's own modules are read, not imported, since importing them loads polars and `--help` need
    not wait for that.
    """
    if Script.running:
        return module_docstring(Script.running.module)
    main = getattr(sys.modules.get("__main__"), "main", None)
    module = sys.modules.get(getattr(main, "__module__", "__main__"))
    return (getattr(main, "__doc__", None) or getattr(module, "__doc__", None) or "").strip()


def module_docstring(module: str) -> str:
    """The docstring of a module that need not be imported."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""


def load_yaml_file(path: str | None) -> DictConfig | ListConfig:
    """The content of a YAML file, empty where no path is given.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path:
        return OmegaConf.create({})
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}. Check the path.")
    return OmegaConf.load(path)


def get_package_version() -> str:
    """The version of this package."""
    from . import __version__

    return __version__


_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def flag(cfg: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """The value of a key that is true or false; also of the words that YAML takes for these, and of null (false).

    NOTE: on a command line Hydra reads `no` and `off` as text, which Python would take for true.

    Raises:
        ValueError: the value is anything else.

    >>> flag({"do_overwrite": "no"}, "do_overwrite"), flag({}, "do_overwrite")
    (False, False)
    """
    value = cfg.get(key, default)
    if value is None:
        return False
    if (word := str(value).lower()) not in _YES | _NO:
        raise ValueError(f"{key} must be true or false, not {value!r}.")
    return word in _YES


def is_metadata_stage(block: Mapping[str, Any] | None) -> bool:
    """Whether a stage with this block produces code metadata (True) or data (False).

    Raises:
        TypeError: `is_metadata` is neither a boolean nor null.
    """
    block = block or {}
    if "is_metadata" not in block:
        return "aggregations" in block
    value = block["is_metadata"]
    if not isinstance(value, bool | None):
        raise TypeError(f"is_metadata must be true, false or null, not {value!r}.")
    return bool(value)


def populate_stage(
    stage_name: str,
    input_dir: str,
    cohort_dir: str,
    stages: Sequence[str],
    stage_configs: Mapping[str, Any],
    pre_parsed_stages: Mapping[str, Block] | None = None,
) -> Block:
    """A stage's own block, with the keys of `INFERRED_STAGE_KEYS` added that it does not set itself.

    `pre_parsed_stages` holds the filled-in blocks of earlier stages, where they are known already.

    Raises:
        ValueError: the stage is not among `stages`, or a name occurs there twice.
        TypeError: an `is_metadata` is neither a boolean nor null.

    >>> block = populate_stage("b", "in", "out", ["a", "b", "c"], {"b": {"x": 1}})
    >>> block["x"], block["data_input_dir"], block["output_dir"]
    (1, 'out/a', 'out/b')
    >>> populate_stage("c", "in", "out", ["a", "b", "c"], {})["output_dir"]
    'out/data'
    """
    stages = list(stages)
    if stage_name not in stages:
        raise ValueError(
            f"'{stage_name}' is not a valid stage name. Options are: {', '.join(stages)}{nearest(stage_name, stages)}"
        )
    if repeated := {s for s in stages if stages.count(s) > 1}:
        raise ValueError(f"Stage names must be unique; `stages` repeats: {listed(repeated)}")

    metadata = {s: is_metadata_stage(stage_configs.get(s)) for s in stages}
    filled: dict[str, Block] = {}
    for stage in stages[: stages.index(stage_name) + 1]:
        known = (pre_parsed_stages or {}).get(stage)
        filled[stage] = dict(known) if known else _fill(stage, input_dir, cohort_dir, metadata, stage_configs, filled)
    return _plain(stage_configs.get(stage_name)) | filled[stage_name]


def _fill(
    stage: str,
    input_dir: str,
    cohort_dir: str,
    metadata: Mapping[str, bool],
    stage_configs: Mapping[str, Any],
    earlier: Mapping[str, Block],
) -> Block:
    """The inferred keys of one stage.

    NOTE: of other stages' blocks only these keys are looked at, so that what another stage still misses, or an
    environment variable that only it needs, does not matter here.
    """
    block = stage_configs.get(stage) or {}
    is_metadata = metadata[stage]

    def nearest_earlier(kind: bool, key: str, otherwise: str) -> Any:
        before = [s for s in earlier if metadata[s] is kind]
        return earlier[before[-1]][key] if before else f"{input_dir}/{otherwise}"

    is_last = [s for s in metadata if metadata[s] is is_metadata][-1] == stage
    own_dir = f"{cohort_dir}/{stage}"
    inferred: Block = {
        "is_metadata": is_metadata,
        "data_input_dir": nearest_earlier(False, "output_dir", "data"),
        "metadata_input_dir": nearest_earlier(True, "reducer_output_dir", "metadata"),
        "output_dir": f"{cohort_dir}/data" if is_last and not is_metadata else own_dir,
        "reducer_output_dir": None,
    }
    if is_metadata:
        inferred["reducer_output_dir"] = f"{cohort_dir}/metadata" if is_last else own_dir
        inferred["train_only"] = True
    return inferred | {key: block[key] for key in inferred if key in block}


def _plain(value: Any) -> Block:
    """A block as plain Python containers, interpolations resolved."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    return dict(value or {})


@cache
def packaged_stage_keys(stage_name: str) -> frozenset[str] | None:
    """The keys that a packaged stage knows, from its YAML; None for a stage that is not packaged."""
    path = CONFIG_DIR / "stage_configs" / f"{stage_name}.yaml"
    if not path.is_file():
        return None
    return frozenset(OmegaConf.load(path)[stage_name] or {}) | INFERRED_STAGE_KEYS | {"description"}


def unknown_stage_keys(stage_name: str, block: Mapping[str, Any] | None, script: str | None = None) -> list[str]:
    """A message for every key of a packaged stage's block that the stage does not know.

    A stage under a name of the user's own may run by a packaged `script`, named after its stage. Free-form stages,
    match & revise blocks, stages of the user's own and keys that begin with `_` are passed over.
    """
    packaged = script if script and packaged_stage_keys(stage_name) is None else stage_name
    known = packaged_stage_keys(packaged)
    block = block or {}
    if known is None or packaged in FREE_FORM_STAGES or "_match_revise" in block:
        return []
    unknown = [str(key) for key in block if key not in known and not str(key).startswith("_")]
    return [
        f"stage_configs.{stage_name}.{key}: {packaged} has no such key{nearest(key, known)}; it has no effect. "
        f"Known keys: {listed(known - INFERRED_STAGE_KEYS)}"
        for key in unknown
    ]


def unknown_stage_blocks(stages: Sequence[str], stage_configs: Mapping[str, Any] | None) -> list[str]:
    """A message for every block of `stage_configs` that belongs to no stage, neither of `stages` nor a packaged one.

    Names that begin with `_` are passed over.
    """
    unknown = [
        name
        for name in map(str, stage_configs or {})
        if name not in stages and packaged_stage_keys(name) is None and not name.startswith("_")
    ]
    return [
        f"stage_configs.{name}: there is no such stage in `stages`{nearest(name, stages)}; it has no effect"
        for name in unknown
    ]


def code_modifiers(cfg: Mapping[str, Any]) -> list[str] | None:
    """The columns that join `code` in every group-by, or None.

    The two other names that release 0.1 gave the key are accepted with a deprecation warning.
    """
    modifiers = cfg.get("code_modifiers")
    for former in FORMER_CODE_MODIFIER_KEYS:
        if modifiers is None and cfg.get(former) is not None:
            message = f"The key `{former}` is now called `code_modifiers`; rename it."
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            logger.warning(message)
            modifiers = cfg[former]
    if isinstance(modifiers, str):
        raise ValueError(f"code_modifiers must be null or a list of column names, not {modifiers!r}.")
    return None if modifiers is None else [str(m) for m in modifiers]


def _register_resolvers() -> None:
    resolvers = {
        "current_script_name": current_script_name,
        "populate_stage": populate_stage,
        # For Hydra's template, in which a lone $ would be the beginning of a placeholder.
        "get_script_docstring": lambda: get_script_docstring().replace("$", "$$"),
        "get_package_name": lambda: PACKAGE,
        "get_package_version": get_package_version,
        "load_yaml_file": load_yaml_file,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


_register_resolvers()
