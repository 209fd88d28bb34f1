"""The log files of a worker that runs several stages: each stage has its own, where its own script would write it."""

import logging
import os
from datetime import datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..work.files import make_folder


class StageLogs:
    """Turns the log of a worker from stage to stage.

    Hydra has opened the log file of the first one. A configuration of the user's without a log file stays without.

    Args:
        cfg: the configuration of the first stage.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.root = logging.getLogger()
        hydra = HydraConfig.get() if HydraConfig.initialized() else None
        self.subfolder = os.path.relpath(hydra.runtime.output_dir, Path(str(cfg.log_dir)).absolute()) if hydra else "."
        self.of_stages: dict[str, logging.FileHandler] = {}
        files = [handler for handler in self.root.handlers if isinstance(handler, logging.FileHandler)]
        if hydra and len(files) == 1:
            self.of_stages[cfg.stage] = files[0]

    def turn_to(self, cfg: DictConfig) -> None:
        """From now on, log lines go to the log file of the stage with this configuration."""
        if not self.of_stages:
            return
        if cfg.stage not in self.of_stages:
            self.of_stages[cfg.stage] = self._opened(cfg)
        for handler in self.of_stages.values():
            self.root.removeHandler(handler)
        self.root.addHandler(self.of_stages[cfg.stage])

    def _opened(self, cfg: DictConfig) -> logging.FileHandler:
        folder = Path(str(cfg.log_dir), self.subfolder)
        make_folder(folder / ".hydra")
        OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
        like = next(iter(self.of_stages.values()))
        name = f"{cfg.stage}_{cfg.get('worker')}_{datetime.now():%Y-%m-%d_%H-%M-%S}.log"
        handler = logging.FileHandler(folder / name, encoding=like.encoding)
        handler.setFormatter(like.formatter)
        handler.setLevel(like.level)
        for one in like.filters:
            handler.addFilter(one)
        return handler
