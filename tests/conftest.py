"""Settings for all tests."""

from hypothesis import settings

# NOTE: by default an example that takes more than 200 ms fails, as any may on a machine that is busy.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")
