"""Configuration files composed by Hydra, beside whatever Hydra application is running."""

from collections.abc import Sequence
from pathlib import Path
from threading import RLock

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from .packaged import with_packaged_blocks

_ALONE = RLock()
"""NOTE: Hydra has one global slot for a process, which threads share."""


def composed(config_fp: Path, overrides: Sequence[str] = (), with_hydra: bool = False) -> DictConfig:
    """A configuration file, composed; `with_hydra`: with Hydra's own part.

    NOTE: a running Hydra application holds the one global slot; it stands aside.

    Raises:
        Exception: what Hydra, YAML, or a resolver has against it.
    """
    with _ALONE:
        running = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(config_fp.parent), version_base=None):
                return with_packaged_blocks(compose(config_fp.stem, [*overrides], return_hydra_config=with_hydra))
        finally:
            GlobalHydra.instance().clear()
            if running is not None:
                GlobalHydra.instance().initialize(running)
