"""Fills in the console scripts of the package: one for every stage of the table in `stages.py`, and the runner.

That module is run by itself, not imported: whoever builds the package has none of its requirements.
"""

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class StageScripts(MetadataHookInterface):
    """The metadata hook that hatchling calls."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds `scripts`."""
        table = runpy.run_path(str(Path(self.root, "src", "MEDS_transforms", "stages.py")))
        stages = {table["script_of"](stage): "MEDS_transforms.cli.script:main" for stage in table["STAGES"]}
        metadata["scripts"] = {**stages, "MEDS_transform-runner": "MEDS_transforms.runner:main"}
