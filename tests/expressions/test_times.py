"""Times that are written as text."""

from datetime import datetime

import polars as pl
import pytest

from MEDS_transforms.expressions.times import has_zone, is_moment, parsed, wrong_formats


def times(texts, *formats):
    return pl.DataFrame({"t": pl.Series(texts, dtype=pl.String)}).select(parsed(pl.col("t"), formats))["t"].to_list()


@pytest.mark.parametrize(
    ("formats", "texts", "expected"),
    [
        (["%Y"], ["2020", "2020.0", "2020.", "2020.5", "x.0", None], [datetime(2020, 1, 1)] * 3 + [None] * 3),
        (["%d.%m.%Y", "%Y%m%d"], ["03.02.2020", "20200131.0"], [datetime(2020, 2, 3), datetime(2020, 1, 31)]),
        (["%s"], ["1.0", "0"], [datetime(1970, 1, 1, 0, 0, 1), datetime(1970, 1, 1)]),
        (["%Y-%m"], ["2020-05", "2020.0"], [datetime(2020, 5, 1), None]),
        (["%Y-%m-%d %H"], ["2020-05-06 07"], [datetime(2020, 5, 6, 7)]),
        (["%Y-%m-%d %H:%M:%S%z"], ["2020-01-01 00:00:00+0200"], [datetime(2019, 12, 31, 22)]),
        (
            ["%FT%T%z"],
            ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00"],
            [datetime(2020, 1, 1), datetime(2019, 12, 31, 22)],
        ),
    ],
)
def test_texts_tell_times_in_the_first_format_that_fits(formats, texts, expected):
    assert times(texts, *formats) == expected


def test_a_format_that_reads_the_text_as_it_is_goes_before_the_whole_number():
    assert times(["2012.000"], "%Y", "%Y.%j") == [datetime(2012, 1, 1)]
    assert times(["201201.00"], "%Y%m", "%Y%m.%H") == [datetime(2012, 1, 1)]


@pytest.mark.parametrize(("time_format", "zoned"), [("%z", True), ("%#z", True), ("%+", True), ("%Y", False)])
def test_formats_with_an_offset_are_known(time_format, zoned):
    assert has_zone(time_format) is zoned


@pytest.mark.parametrize(
    "time_format",
    ["%Y-%m-%dT%H:%M:%S%.f%z", "%d/%m/%y %I:%M %p", "%Y%%Z", "%F %#z", "%F %H", "%b %Y", "%Y", "%s", "%+", "%c"],
)
def test_formats_that_can_be_read_pass(time_format):
    assert wrong_formats([time_format]) is None


@pytest.mark.parametrize(
    ("formats", "said"),
    [([], "a format such as"), ([5], "a format such as"), (["%Z"], "without %Z"), (["%Y", "%Q"], "unknown directives")],
)
def test_others_are_refused_with_what_is_allowed(formats, said):
    assert said in wrong_formats(formats)


@pytest.mark.parametrize("time_format", ["%Y-%m-%d %H:%M %p", "%Y-%m-%d %I:%M", "%Y-%m-%d %M"])
def test_half_a_time_of_day_is_refused_before_a_row_is_read(time_format):
    said = wrong_formats(["%Y-%m-%d", time_format])
    assert "%I, %M and %p" in said
    assert repr(time_format) in said


@pytest.mark.parametrize("formats", [["%H:%M"], ["%Y-%m-%d", "%d %b"]])
def test_a_format_without_a_year_is_refused(formats):
    """It would read a time of day as one of the year 1."""
    assert "a year" in wrong_formats(formats)


@pytest.mark.parametrize(
    ("time_format", "expected"),
    [("%s", True), ("%FT%TZ", True), ("%F %T%z", True), ("%F %T", False), ("%F %%s", False)],
)
def test_formats_of_moments(time_format, expected):
    assert is_moment(time_format) == expected
