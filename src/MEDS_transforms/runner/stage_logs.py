"""The log files of a worker that runs several stages: each stage has its own, where its own script would write it."""

import logging
import os
from datetime import datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..work.files import make_folder
from ..work.turn import stage_at_work


class StageLogs:
    """The log files of a worker, one for each stage.

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
            self._take_in(cfg.stage, files[0])

    def open(self, cfg: DictConfig) -> None:
        """Opens the log file of the stage with this configuration, to which go the lines that are about it."""
        if not self.of_stages or cfg.stage in self.of_stages:
            return
        folder = Path(str(cfg.log_dir), self.subfolder)
        make_folder(folder / ".hydra")
        OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
        like = next(iter(self.of_stages.values()))
        name = f"{cfg.stage}_{cfg.get('worker')}_{datetime.now():%Y-%m-%d_%H-%M-%S}.log"
        handler = logging.FileHandler(folder / name, encoding=like.encoding)
        handler.setFormatter(like.formatter)
        handler.setLevel(like.level)
        self._take_in(cfg.stage, handler)
        self.root.addHandler(handler)

    def _take_in(self, stage: str, handler: logging.FileHandler) -> None:
        """Lets a log file have only the lines about its stage; the first one has those about none as well."""
        names = {stage} if self.of_stages else {stage, ""}
        handler.addFilter(lambda _: stage_at_work() in names)
        self.of_stages[stage] = handler
