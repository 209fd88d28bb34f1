"""Units and reference ranges of the MIMIC-IV demo: values must become what an independent calculation makes of them.

The demo is looked for as in `test_real_preprocessing`. In its codes of laboratory values the unit comes last. Reference
ranges are in the raw table alone, of which the test makes data.
"""

import json
from collections import Counter

import duckdb
import numpy as np
import polars as pl
import pytest

from compat.test_real_preprocessing import SHARED_DATA
from helpers import Preprocessing

DEMO = SHARED_DATA / "mimic-iv-demo"
LABEVENTS = DEMO / "raw" / "hosp" / "labevents.csv.gz"
EXTRACTED = DEMO / "expected" / "extraction" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not LABEVENTS.is_file(),
        reason=f"no demo of MIMIC-IV in {SHARED_DATA}; name its folder in the environment variable MEDS_SHARED_DATA",
    ),
]

GIVEN = {
    ("50931", "mg/dL"): ("mmol/L", 0.0555),  # glucose
    ("50912", "mg/dL"): ("umol/L", 88.4),  # creatinine
    ("51221", "%"): ("L/L", 0.01),  # hematocrit
}
KNOWN = {
    ("51222", "g/dL"): ("g/L", 10.0),  # hemoglobin
    ("51265", "K/uL"): ("10^9/L", 1.0),  # platelets
    ("51279", "m/uL"): ("10*12/L", 1.0),  # red cells
    ("50821", "mm Hg"): ("kPa", 0.133322387415),  # oxygen
    ("51099", "mg/mg"): ("mg/g", 1000.0),  # protein to creatinine, also written as Ratio
    ("50983", "mEq/L"): ("mmol/L", None),  # sodium: how many mmol a mEq is depends on the substance
}


def by_hand(code: str, value: float | None, counts: Counter[str]) -> tuple[str, float | None]:
    start, _, unit = code.rpartition("//")
    if code.startswith(("LAB//50983//", "LAB//51099//Ratio")):
        counts["not_converted"] += value is not None
    to, factor = (GIVEN | KNOWN).get((start.removeprefix("LAB//"), unit), (None, None))
    if value is None or factor is None:
        return code, value
    counts["converted"] += 1
    return f"{start}//{to}", value * factor


def test_units_in_the_codes_of_the_demo(tmp_path):
    data = Preprocessing(tmp_path)
    data.dataset.mkdir()
    (data.dataset / "data").symlink_to(EXTRACTED)
    conversions = [
        {"code": f"LAB//{item}//{unit}", "from": unit, "to": to, "factor": factor}
        for (item, unit), (to, factor) in GIVEN.items()
    ]
    targets = [{"code": {"regex": f"^LAB//{item}//"}, "unit": to} for (item, _), (to, _) in KNOWN.items()]
    block = {"unit_after": "^LAB//[^/]+//", "conversions": conversions, "target_units": targets}
    counts: Counter[str] = Counter()
    for name, got in data.run("standardize_units", **block).items():
        before = pl.read_parquet(EXTRACTED / f"{name}.parquet")
        wanted = [by_hand(code, value, counts) for code, value in before.select("code", "numeric_value").iter_rows()]
        assert got["code"].to_list() == [code for code, _ in wanted]
        want = np.array([np.nan if value is None else value for _, value in wanted], dtype=np.float32)
        np.testing.assert_allclose(got["numeric_value"].to_numpy(), want, rtol=1.2e-7)
        assert got.drop("code", "numeric_value").equals(before.drop("code", "numeric_value"))
    account = json.loads((data.cohort / "metadata/accounting/standardize_units.json").read_text())["values"]
    assert {key: account[key] for key in counts} == counts
    assert counts["converted"] > 15_000
    assert counts["not_converted"] > 2_500


RAW = f"read_csv('{LABEVENTS}', all_varchar = true)"
TABLE = f"""
select subject_id::bigint as subject_id, try_cast(charttime as timestamp) as time, 'LAB//' || itemid as code,
    valuenum::float as numeric_value, ref_range_lower::double as lower, ref_range_upper::double as upper, flag,
    labevent_id::bigint as id
from {RAW} order by subject_id, time, id
"""
IN_SQL = f"""
select labevent_id::bigint, case
    when v is null or (lo is null and hi is null) then null
    when v < lo then 'ABNORMAL' when v > hi then 'ABNORMAL' else 'NORMAL' end
from (select *, valuenum::float as v,
    coalesce(ref_range_lower, case when ref_range_upper is null and itemid = '50931' then '70' end)::float as lo,
    coalesce(ref_range_upper, case when ref_range_lower is null and itemid = '50931' then '105' end)::float as hi
    from {RAW})
"""


def test_reference_ranges_of_the_demo(tmp_path):
    data, rows = Preprocessing(tmp_path), duckdb.sql(TABLE).pl()
    half = pl.col("subject_id") % 2 == 0
    data.write({"train/0": rows.filter(half), "held_out/0": rows.filter(~half)})
    got = data.run(
        "flag_abnormal_values",
        lower_column="lower",
        upper_column="upper",
        ranges=[{"code": "LAB//50931", "lower": 70, "upper": 105}],
        flag_as="column",
        flags={"low": "ABNORMAL", "high": "ABNORMAL"},
    )
    found = {row[0]: row[1] for shard in got.values() for row in shard.select("id", "numeric_value/range_flag").rows()}
    want = dict(duckdb.sql(IN_SQL).fetchall())
    assert found == want
    assert Counter(want.values())["ABNORMAL"] > 25_000
    # The hospital's own mark agrees, but for values that it marks for other reasons.
    flagged = pl.concat(got.values()).filter(
        pl.col("numeric_value/range_flag").is_not_null() & pl.col("lower").is_not_null()
    )
    same = (flagged["numeric_value/range_flag"] == "ABNORMAL") == (flagged["flag"] == "abnormal").fill_null(False)
    assert same.mean() > 0.97
