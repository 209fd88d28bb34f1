"""A pipeline file, composed with Hydra as the stages' own scripts will."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ..cli.command_line import unknown_key
from ..cli.overrides import nested_value, override_key
from ..cli.script import settled
from ..errors import InputError, MissingInputError, explain, listed, nearest
from ..settings.composing import composed
from ..settings.declarations import lists_for_blocks, top_keys
from ..settings.keys import flag
from ..settings.newer_signs import is_newer
from ..settings.packaged import RESERVED_CONFIG_NAMES
from ..settings.plain import plain
from ..settings.yaml_file import read_yaml

PACKAGED_CONFIGS = "pkg://MEDS_transforms.configs"


@dataclass(frozen=True)
class Pipeline:
    """A pipeline file and what it amounts to, with its defaults and the overrides for its stages."""

    config_fp: Path
    searchpath: list[str]
    overrides: list[str]
    cfg: DictConfig
    launcher: str
    """Hydra's launcher of the stages for which the stage-runner file names none."""

    def value(self, key: str) -> Any:
        """The resolved value at a key path; None where it is absent, or mandatory and not set."""
        value = OmegaConf.select(self.cfg, key)
        return plain(value, resolve=False)

    @cached_property
    def stages(self) -> Any:
        """The entry `stages`, unchecked."""
        return plain(OmegaConf.select(self.cfg, "stages"))

    @cached_property
    def stage_names(self) -> list[str]:
        """The names in `stages`, each once: all of it, where `pipeline_problems` finds nothing wrong."""
        names = self.stages if isinstance(self.stages, list) else []
        return [name for name in dict.fromkeys(map(str, names)) if isinstance(self.block(name), dict)]

    @cached_property
    def blocks(self) -> Mapping[str, Any]:
        """The entry `stage_configs`, unresolved; empty where it is not a mapping."""
        blocks = self.value("stage_configs")
        return blocks if isinstance(blocks, dict) else {}

    def block(self, stage: str) -> Any:
        """The block of a stage in `stage_configs`, unchecked and unresolved."""
        block = self.blocks.get(stage)
        return {} if block is None else block

    def flag(self, key: str) -> bool:
        """The value of a key that is true or false; see `config.flag`."""
        return flag({key: self.value(key)}, key)

    def stage_config(self, stage: str) -> DictConfig:
        """The configuration that a stage will get; nothing is composed for it. It is not to be changed."""
        if stage not in self._configs:
            cfg: Any = self.cfg.copy()
            OmegaConf.set_struct(cfg, False)
            cfg.stage = stage
            with suppress(Exception):  # where the block cannot be put together, whoever looks at it says why
                cfg = settled(cfg)
            self._configs[stage] = cfg
        return self._configs[stage]

    @cached_property
    def _configs(self) -> dict[str, DictConfig]:
        return {}

    def overwriting(self) -> "Pipeline":
        """The same pipeline with `do_overwrite`."""
        cfg = self.cfg.copy()
        with open_dict(cfg):
            cfg["do_overwrite"] = True
        return replace(self, cfg=cfg, overrides=[*self.overrides, "++do_overwrite=True"])

    def script(self, stage: str) -> Any:
        """The entry `_script` of a stage's block, resolved; None where there is none."""
        return self.cfg.stage_configs[stage]["_script"] if self.block(stage).get("_script") else None


def load_pipeline(pipeline_config_fp: str | None, overrides: Sequence[str] = (), is_packaged: bool = False) -> Pipeline:
    """Composes a pipeline file with the packaged configs, its own search path and its stages' overrides.

    `is_packaged`: it is one of the packaged files, which a runner cannot run as they are.

    Raises:
        ValueError: no file is given, it has a reserved name, or it cannot be composed.
        FileNotFoundError: there is no such file.
    """
    if not pipeline_config_fp:
        hints = {o: nearest(override_key(o), ["pipeline_config_fp"]) for o in overrides}
        misspelt = "".join(f" {override}: there is no such setting{hint}." for override, hint in hints.items() if hint)
        remedy = f"Name its file: pipeline_config_fp=FILE.yaml.{misspelt}".removesuffix(".")
        raise InputError("No pipeline is given", remedy=remedy)
    config_fp = Path(pipeline_config_fp).absolute()
    if not is_packaged:
        _check_file(config_fp)
    try:
        searchpath = _searchpath(config_fp)
        cfg = composed(config_fp, [searchpath_override(searchpath), *overrides], with_hydra=True)
        launcher = cfg.hydra.runtime.choices["hydra/launcher"]
        with open_dict(cfg):
            del cfg["hydra"]
    except Exception as error:  # YAML, Hydra, OmegaConf, and whatever a resolver of the user's raises
        given = f" with the overrides {' '.join(overrides)}" if overrides else ""
        why = lists_for_blocks(config_fp) or _unknown_key(config_fp, overrides) or explain(error)
        raise InputError(f"The pipeline {config_fp}{given} cannot be composed: {why}") from error
    return Pipeline(config_fp, searchpath, [*overrides], cfg, launcher)


def check_launcher(pipeline: Pipeline, overrides: Sequence[str]) -> None:
    """Composes a pipeline with the overrides that choose and set up a launcher, as a stage's script will.

    Raises:
        Exception: what Hydra or the launcher's plugin has against them.
    """
    own = searchpath_override(pipeline.searchpath)
    composed(pipeline.config_fp, [own, *pipeline.overrides, *overrides], with_hydra=True)


def _unknown_key(config_fp: Path, overrides: Sequence[str]) -> str | None:
    with suppress(Exception):  # of a pipeline that cannot be composed without the overrides either
        return unknown_key(
            overrides, composed(config_fp, [searchpath_override(_searchpath(config_fp))], with_hydra=True)
        )
    return None


def _check_file(config_fp: Path) -> None:
    if not config_fp.is_file():
        named = config_fp.with_name(f"{config_fp.name}.yaml")
        if named.is_file():
            raise MissingInputError(
                f"There is no pipeline file {config_fp}", remedy=f"Write pipeline_config_fp={named}"
            )
        near = nearest(config_fp.name, (path.name for path in config_fp.parent.glob("*.yaml")))
        raise MissingInputError(f"There is no pipeline file {config_fp}{near}", remedy="Check pipeline_config_fp.")
    if _is_event_file(config_fp):
        raise InputError(f"{config_fp} is an event conversion file, not a pipeline", remedy="Name the pipeline file.")
    if config_fp.stem in RESERVED_CONFIG_NAMES:
        reserved = listed(RESERVED_CONFIG_NAMES)
        raise InputError(f"the names of packaged configs ({reserved}) are reserved", str(config_fp), "Rename the file.")
    if config_fp.suffix != ".yaml":
        raise InputError("Hydra reads only files that end in .yaml", str(config_fp), "Rename the file.")


def _is_event_file(config_fp: Path) -> bool:
    """Whether a file has no key of a pipeline, but blocks of blocks with codes or expressions, as event files have."""
    with suppress(OSError, ValueError):  # a file that cannot be read is another mistake
        content = read_yaml(config_fp)
        if not isinstance(content, dict) or not content.keys().isdisjoint({*top_keys(), "defaults"}):
            return False
        blocks = [block for block in content.values() if isinstance(block, dict)]
        return is_newer(content) or any("code" in event for block in blocks for event in _mappings(block))
    return False


def _mappings(block: Mapping[str, Any]) -> list[Any]:
    return [value for value in block.values() if isinstance(value, dict)]


def _searchpath(config_fp: Path) -> list[str]:
    """The file's own `hydra.searchpath`, and the packaged configs."""
    own = OmegaConf.select(OmegaConf.load(config_fp), "hydra.searchpath") or []
    return [*(entry for entry in own if entry != PACKAGED_CONFIGS), PACKAGED_CONFIGS]


def searchpath_override(searchpath: Sequence[str]) -> str:
    """The override that gives Hydra these places to look for configuration files."""
    entries = [entry if entry == PACKAGED_CONFIGS else nested_value(entry) for entry in searchpath]
    return f"hydra.searchpath=[{','.join(entries)}]"
