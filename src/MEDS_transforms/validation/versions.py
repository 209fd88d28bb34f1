"""The versions of MEDS that datasets can be validated against; apart from what they ask for, so that help is fast."""

from enum import StrEnum


class MedsVersion(StrEnum):
    """A version of MEDS."""

    V0_3 = "0.3"
    V0_4 = "0.4"
