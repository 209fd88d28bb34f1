"""Figures in a few words, as a line on a screen has room for."""

from datetime import timedelta

from rich import filesize

from .figures import Figures


def in_words(*at_work: Figures) -> list[str]:
    """How far stages are together: units, rows a second, time left, memory; what is not known is left out.

    >>> in_words(Figures("a", 1, 2, done=3, all=9, rows=70, rows_per_second=2345, seconds_left=70.2, memory=2**30))
    ['3 of 9 units', '2.3k rows/s', '0:01:10 left', '1.1 GB']
    """
    done, of = sum(figures.done for figures in at_work), sum(figures.all for figures in at_work)
    rates = [figures.rows_per_second for figures in at_work if figures.rows_per_second is not None]
    left = [figures.seconds_left for figures in at_work if figures.seconds_left is not None]
    memory, workers = max((figures.memory or 0, figures.workers) for figures in at_work)
    words = [f"{done:,} of {of:,} units" if of else ""]
    words += [f"{short(max(rates))} rows/s"] if rates else []
    words += [f"{timedelta(seconds=round(max(left)))} left"] if left else []
    of_workers = f" in {workers} processes" if workers > 1 else ""
    words += [f"{filesize.decimal(memory)}{of_workers}"] if memory else []
    return [word for word in words if word]


def short(number: float) -> str:
    """A number with two digits or three, and a letter for thousands, millions or more.

    >>> short(12.3), short(2345), short(1_200_000)
    ('12', '2.3k', '1.2M')
    """
    unit, letter = filesize.pick_unit_and_suffix(int(number), ["", "k", "M", "G"], 1000)
    return f"{number / unit:.0f}" if unit == 1 else f"{number / unit:.1f}{letter}"
