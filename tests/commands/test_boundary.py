"""Whatever goes wrong in a command is one message and an exit status."""

import polars as pl
import pytest

from MEDS_transforms.commands.boundary import reporting_errors
from MEDS_transforms.errors import InputError


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("there is none"), 1, "error: there is none\n"),
        (pl.exceptions.PanicException("no such type"), 1, "error: PanicException: no such type. polars crashed"),
        (KeyboardInterrupt(), 130, "error: Interrupted.\n"),
    ],
)
def test_an_error_is_one_message(error, status, words, capsys):
    with pytest.raises(SystemExit) as end, reporting_errors():
        raise error
    assert end.value.code == status
    assert capsys.readouterr().err.startswith(words)


def test_an_exit_is_none():
    with pytest.raises(SystemExit) as end, reporting_errors():
        raise SystemExit(3)
    assert end.value.code == 3
