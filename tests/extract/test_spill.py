"""Groups of rows come back from disk as they were, those of all batches together."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from MEDS_transforms.extract.spill import Spill

SCHEMA = {
    "id": pl.Int64(),
    "code": pl.String(),
    "time": pl.Datetime("us"),
    "value": pl.Float32(),
    "kind": pl.Categorical(),
    "named kind": pl.Categorical(pl.Categories("of a name")),
    "grade": pl.Enum(["low", "high"]),
    "flag": pl.Boolean(),
    "day": pl.Date(),
    "stay": pl.Duration("us"),
    "small": pl.UInt16(),
    "none": pl.Null(),
    "*": pl.List(pl.String()),
}


def rows(*numbers: int) -> pl.DataFrame:
    at = datetime(2020, 1, 1, 12)
    values = [
        (
            n,
            f"c{n}",
            at,
            n / 2,
            f"k{n % 3}",
            f"n{n % 3}",
            "low",
            n > 1,
            date(2020, 1, 1),
            timedelta(n),
            n,
            None,
            [f"x{n}"],
        )
        if n
        else (None,) * len(SCHEMA)
        for n in numbers
    ]
    return pl.DataFrame(values, schema=SCHEMA, orient="row")


@pytest.mark.parametrize(
    "batches",
    [
        [[rows(1, 2), rows(3)]],
        [[rows(1, 2), rows(3)], [rows(4), rows(5, 0, 6)]],
        [[rows(), rows(3)], [rows(4), rows()], [rows(), rows()]],
        [[rows(), rows()]],
    ],
    ids=["one batch", "two batches", "empty groups", "nothing"],
)
def test_groups_come_back_as_they_were(tmp_path, batches):
    spill = Spill(tmp_path)
    for batch in batches:
        spill.write(iter(batch))
    found = [*spill.groups()]
    assert [group.schema for group in found] == [rows().schema] * 2
    for group, wanted in zip(found, zip(*batches, strict=True), strict=True):
        assert group.equals(pl.concat(wanted))
