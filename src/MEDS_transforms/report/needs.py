"""Says which packages the report needs, where they are not installed."""

from importlib.util import find_spec

from ..errors import MissingPackagesError, listed

_PACKAGES = {"altair": "altair", "jinja2": "jinja2", "vl_convert": "vl-convert-python"}
"""The names of modules, and of the packages that have them."""


def check_packages() -> None:
    """Raises an ImportError that says how to install what is missing."""
    if missing := [package for module, package in _PACKAGES.items() if find_spec(module) is None]:
        raise MissingPackagesError(
            f"The report needs packages that are not installed: {listed(missing)}. Install them with\n"
            "    pip install 'MEDS_transforms[report]'"
        )
