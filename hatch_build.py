"""What the build adds to pyproject.toml: the console scripts, one for each stage of the table in `stages.py`."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ConsoleScripts(MetadataHookInterface):
    """Fills `[project.scripts]`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the scripts; the package itself need not be importable yet."""
        table = runpy.run_path(str(Path(self.root) / "src" / "MEDS_transforms" / "stages.py"))
        metadata["scripts"] = table["console_scripts"]()
