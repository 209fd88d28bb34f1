"""Whatever goes wrong in a command becomes one message and an exit status."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..cli.boundary import give_up, message_for
from ..cli.process import forgive_broken_output
from ..errors import wants_trace


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Ends the program with a message where an error comes; with HYDRA_FULL_ERROR=1 with its trace."""
    forgive_broken_output()
    try:
        yield
    except KeyboardInterrupt:
        give_up("Interrupted.", 128 + signal.SIGINT)
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of polars is not an Exception
        if wants_trace():
            raise
        give_up(message_for(error))
