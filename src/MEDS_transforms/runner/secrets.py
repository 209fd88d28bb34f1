"""Values from the environment may be secrets: what is logged, or is in a command line, has their names instead."""

import os
from typing import Any

from ..settings.secrets import variables_in


def with_params_as_written(entries: Any, written: Any) -> Any:
    """The entries, in which parameters of launchers that come from the environment are left to the stage to resolve.

    So they are in no command line and in no log.
    """
    if not isinstance(entries, dict) or not isinstance(written, dict):
        return written if isinstance(written, str) and "oc.env" in written else entries
    return {
        key: with_params_as_written(value, written.get(key))
        if key not in ("script", "n_workers", "launcher", "max_retries")
        else value
        for key, value in entries.items()
    }


def without_secrets(text: str, *configs: Any) -> str:
    """A text in which the values of environment variables that configurations come from are their names again."""
    names = {name for config in configs for name in variables_in(config)}
    for name in sorted(names, key=lambda name: len(os.environ.get(name, "")), reverse=True):
        if value := os.environ.get(name):
            text = text.replace(value, f"${{oc.env:{name}}}")
    return text
