"""Times are recognized in whatever format they are written."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.draft.formats import FORMATS, TWINS, times_of
from MEDS_transforms.expressions.times import has_zone, parsed

TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 12, 31))
WRITTEN = [f for f in FORMATS if not has_zone(f) and "%y" not in f and "%.f" not in f]


@given(st.sampled_from(WRITTEN), st.lists(TIMES, min_size=1, max_size=20))
def test_a_format_reads_what_is_written_by_it(time_format, times):
    texts = pl.Series([time.strftime(time_format) for time in times])
    found = times_of(texts)
    assert found is not None
    assert found.share == pytest.approx(1)
    read = texts.to_frame("t").select(parsed(pl.col("t"), [*found.formats])).to_series()
    wanted = [datetime.strptime(text, time_format) for text in texts]
    swapped = TWINS.get(time_format)
    assert [*read] == wanted or (swapped in found.formats and found.ambiguous)


@pytest.mark.parametrize(
    ("texts", "formats"),
    [
        (
            [f"2024-01-01 10:00:0{n}" for n in range(8)] + ["05/03/2024", "06/03/2024"],
            ["%Y-%m-%d %H:%M:%S", "%d/%m/%Y"],
        ),
        (["05.03.2024 11:00", "06.03.2024 09:00", "01.07.2024"], ["%d.%m.%Y %H:%M", "%d.%m.%Y"]),
        (["01/02/2024", "01/25/2024"], ["%m/%d/%Y"]),
        (["2024-03-05T11:00Z"], ["%Y-%m-%dT%H:%M%z"]),
        (["2024-03-05T11:00:00+01"], ["%Y-%m-%dT%H:%M:%S%#z"]),
        (["2024-03-05 11:00:00.25", "2024-03-05 11:00:01"], ["%Y-%m-%d %H:%M:%S%.f"]),
        (["20240105", "20231224"], ["%Y%m%d"]),
        (["05.03.24"], ["%d.%m.%y"]),
        (["03-Jan-2024 10:00"], ["%d-%b-%Y %H:%M"]),
    ],
)
def test_formats(texts, formats):
    found = times_of(pl.Series(texts))
    assert found is not None
    assert [*found.formats] == formats
    assert found.is_day == (not any("%H" in f for f in formats))


@pytest.mark.parametrize(
    "texts",
    [
        ["10027602", "10028101"],  # ids
        ["20241305", "20240101"] * 5,  # no months
        ["0389", "250.00"],
        ["120/80", "95/60"],
        ["1.10", "2.10"],
        ["yes", "no"],
        ["718-7", "2823-3"],
        ["1024", "1999"],  # numbers, unless a name says that they are years
        [],
    ],
)
def test_what_is_no_time(texts):
    assert times_of(pl.Series(texts, dtype=pl.String)) is None


def test_a_year_and_a_number_of_seconds_are_times_only_where_a_name_says_so():
    years, seconds = pl.Series(["1960", "1971"]), pl.Series(["1704067200", "1704067260"])
    assert times_of(seconds) is None
    assert [*times_of(years, may_be_year=True).formats] == ["%Y"]
    assert times_of(seconds, may_be_epoch=True).epoch == "seconds"
    assert times_of(pl.Series(["1704067200000"]), may_be_epoch=True).epoch == "milliseconds"
    assert times_of(pl.Series(["12", "13"]), may_be_epoch=True) is None


def test_days_and_months_that_could_be_swapped_are_noted():
    assert times_of(pl.Series(["01/02/2024", "03/04/2024"])).ambiguous
    assert not times_of(pl.Series(["01/02/2024", "13/04/2024"])).ambiguous
    assert not times_of(pl.Series(["01.02.2024"])).ambiguous


def test_days_and_months_are_in_one_order():
    month_first = [f"01/{day}/2024" for day in range(13, 22)]
    assert [*times_of(pl.Series([*month_first, "25/12/2023"])).formats] == ["%m/%d/%Y"]
    assert times_of(pl.Series(["01/13/2024", "13/01/2024"])) is None
