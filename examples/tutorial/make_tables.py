"""Writes the tables of the tutorial's hospital, as untidy as they come.

Usage: python make_tables.py FOLDER

| table | format | a row describes |
|---|---|---|
| `patients` | csv, `;`, cp1252 | a person, whose id is text |
| `visits` | tsv | a stay in hospital |
| `labs` | a folder of csv files | a laboratory result, of a visit |
| `tests` | csv | a kind of laboratory test, whose number begins with 0 or is 1.10 |
| `vitals` | csv.gz | a bedside observation, in UTC, with two values in one field |
| `diagnoses` | parquet | a diagnosis, whose number is a float |
"""

import gzip
import sys
from pathlib import Path

import polars as pl

PATIENTS = """\
patient;sex;born;died;city
P-0001;F;14.02.1951;;Köln
P-0002;M;03.11.1948;21.03.2024;Düren
P-0003;F;27.07.1990;;k.A.
P-0004;M;30.01.1962;;Köln
P-0005;k.A.;08.12.1937;;Mainz
P-0006;F;21.05.1979;;Köln
P-0007;M;16.09.1955;;Düren
P-0008;F;02.04.2001;;k.A.
"""

VISITS = """\
visit	patient	ward	admitted
071	P-0001	surgery	2024-03-05 10:15
71	P-0002	medicine	2024-03-18 23:40
072	P-0003		2024-07-01 08:00
073	P-0007	surgery	2024-07-02 16:30
"""

LABS = {
    "2024-1": """\
visit;taken;test;result;unit
071;05.03.2024 11:00;0389;4,1;mmol/L
071;05.03.2024 11:00;0389;4,1;mmol/L
071;05.03.2024 11:00;389;<5;mg/L
71;19.03.2024 00:30;0389;3,2;mmol/L
71;;0389;3,9;mmol/L
""",
    "2024-2": """\
visit;taken;test;result;unit
072;01.07.2024;389; 7 ;mg/L
072;01.07.2024 09:20;1.10;trüb;k.A.
073;02.07.2024 17:05;389;k.A.;mg/L
073;gestern;0389;4,4;mmol/L
999;03.07.2024 08:00;0389;4,0;mmol/L
""",
}

TESTS = """\
test;unit;label;loinc
0389;mmol/L;Kalium;2823-3
389;mg/L;C-reaktives Protein;1988-5
1.10;k.A.;Trübung (Harn);5767-9
"""

VITALS = """\
patient,seen,pressure,pulse
P-0001,2024-03-05T11:00Z,120/80,71
P-0002,2024-03-18T22:55Z,95/60,112
P-0003,2024-07-01T06:10Z,,64
"""

DIAGNOSES = {
    "patient": ["P-0001", "P-0002", "P-0004", "P-0005"],
    "day": ["2024-03-06", "2024-03-19", "2023-10-02", "2022-01-15"],
    "concept": [38341003.0, 73211009.0, None, 38341003.0],
}


def main(folder: Path) -> None:
    """Writes the tables."""
    (folder / "labs").mkdir(parents=True, exist_ok=True)
    texts = {"patients.csv": PATIENTS, "tests.csv": TESTS} | {f"labs/{name}.csv": LABS[name] for name in LABS}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="cp1252")
    (folder / "visits.tsv").write_text(VISITS, encoding="utf-8")
    (folder / "vitals.csv.gz").write_bytes(gzip.compress(VITALS.encode(), mtime=0))
    pl.DataFrame(DIAGNOSES).with_columns(pl.col("day").str.to_date()).write_parquet(folder / "diagnoses.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
