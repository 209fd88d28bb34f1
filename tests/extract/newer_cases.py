"""Event files of the newer line, most as its documentation shows them, and what MEDS_extract 0.7.1 makes of them.

Measurements and codes have no keys for nulls; times are as Python writes them; numbers are rounded to six digits.
"""

from datetime import date, datetime
from typing import Any, NamedTuple

import polars as pl

from helpers import Extraction


class Case(NamedTuple):
    """Tables (csv as text), an event file, and the measurements and codes that it gives."""

    name: str
    tables: dict[str, str | pl.DataFrame]
    event_file: str
    measurements: list[dict[str, Any]]
    codes: list[dict[str, Any]]


CASES = [
    Case(
        "a whole file with sources and etl",
        {
            "patients.csv": """\
MRN,gender,race,ethnicity
1,F,w,h
2,M,,h
3,,b,
""",
            "admissions.csv": """\
patient_id,admission_type,admit_datetime,discharge_datetime,discharge_location,department,insurance
1,ER,2020-01-01 10:00:00,2020-01-03 10:00:00,HOME,card,x
2,EL,2020-02-01 10:00:00,,HOME,,y
3,ER,2020-03-01 10:00:00,2020-03-02 11:00:00,,onc,
""",
            "lab_results.csv": """\
patient_id,test_name,units,result_datetime,result_value,result_text
1,GLU,mg/dL,2020-01-01 11:00:00,98.5,98.5
1,HR,,2020-01-01 11:00:00,,pos
2,GLU,mg/dL,2020-02-01 11:00:00,7,seven
3,GLU,mg/dL,2020-02-01 11:00:00,7,7
3,GLU,mg/dL,2020-02-01 11:00:00,7,7
""",
        },
        """\
sources:
  dataset_version: '1.0'
  dataset:
    - type: http
      urls: [https://example.com/raw/patients.csv]
etl:
  dataset_name: MY_DATASET
_defaults:
  subject_id: $patient_id
patients:
  _defaults:
    subject_id: $MRN
  demographics:
    code: f"DEMOGRAPHIC//{$gender}"
    time:
    race: $race
    ethnicity: $ethnicity
admissions:
  admission:
    code: f"HOSPITAL_ADMISSION//{$admission_type}"
    time: $admit_datetime as "%Y-%m-%d %H:%M:%S"
    department: $department
    insurance: $insurance
  discharge:
    code: f"HOSPITAL_DISCHARGE//{$discharge_location}"
    time: $discharge_datetime as "%Y-%m-%d %H:%M:%S"
lab_results:
  lab:
    code: f"LAB//{$test_name}//{$units}"
    time: $result_datetime as "%Y-%m-%d %H:%M:%S"
    numeric_value: $result_value
    text_value: $result_text
""",
        [
            {
                "subject_id": 1,
                "code": "DEMOGRAPHIC//F",
                "race": "w",
                "ethnicity": "h",
                "source_block": "patients/demographics",
            },
            {
                "subject_id": 1,
                "time": "2020-01-01 10:00:00",
                "code": "HOSPITAL_ADMISSION//ER",
                "source_block": "admissions/admission",
                "department": "card",
                "insurance": "x",
            },
            {
                "subject_id": 1,
                "time": "2020-01-01 11:00:00",
                "code": "LAB//GLU//mg/dL",
                "numeric_value": 98.5,
                "source_block": "lab_results/lab",
            },
            {
                "subject_id": 1,
                "time": "2020-01-03 10:00:00",
                "code": "HOSPITAL_DISCHARGE//HOME",
                "source_block": "admissions/discharge",
            },
            {"subject_id": 2, "code": "DEMOGRAPHIC//M", "ethnicity": "h", "source_block": "patients/demographics"},
            {
                "subject_id": 2,
                "time": "2020-02-01 10:00:00",
                "code": "HOSPITAL_ADMISSION//EL",
                "source_block": "admissions/admission",
                "insurance": "y",
            },
            {
                "subject_id": 2,
                "time": "2020-02-01 11:00:00",
                "code": "LAB//GLU//mg/dL",
                "numeric_value": 7.0,
                "text_value": "seven",
                "source_block": "lab_results/lab",
            },
            {
                "subject_id": 3,
                "time": "2020-02-01 11:00:00",
                "code": "LAB//GLU//mg/dL",
                "numeric_value": 7.0,
                "source_block": "lab_results/lab",
            },
            {
                "subject_id": 3,
                "time": "2020-03-01 10:00:00",
                "code": "HOSPITAL_ADMISSION//ER",
                "source_block": "admissions/admission",
                "department": "onc",
            },
        ],
        [
            {"code": "DEMOGRAPHIC//F"},
            {"code": "DEMOGRAPHIC//M"},
            {"code": "HOSPITAL_ADMISSION//EL"},
            {"code": "HOSPITAL_ADMISSION//ER"},
            {"code": "HOSPITAL_DISCHARGE//HOME"},
            {"code": "LAB//GLU//mg/dL"},
        ],
    ),
    Case(
        "codes",
        {
            "vitals.csv": """\
subject_id,measurement_type,units
1,HR,bpm
2,RR,
3,,x
"""
        },
        """\
vitals:
  literal: {code: "HEART_RATE", time: null}
  word: {code: measurement_type, time: null}
  column: {code: $measurement_type, time: null}
  composite: {code: 'f"VITAL_SIGN//{$measurement_type}//{$units}"', time: null}
""",
        [
            {"subject_id": 1, "code": "HEART_RATE", "source_block": "vitals/literal"},
            {"subject_id": 1, "code": "HR", "source_block": "vitals/column"},
            {"subject_id": 1, "code": "VITAL_SIGN//HR//bpm", "source_block": "vitals/composite"},
            {"subject_id": 1, "code": "measurement_type", "source_block": "vitals/word"},
            {"subject_id": 2, "code": "HEART_RATE", "source_block": "vitals/literal"},
            {"subject_id": 2, "code": "RR", "source_block": "vitals/column"},
            {"subject_id": 2, "code": "measurement_type", "source_block": "vitals/word"},
            {"subject_id": 3, "code": "HEART_RATE", "source_block": "vitals/literal"},
            {"subject_id": 3, "code": "measurement_type", "source_block": "vitals/word"},
        ],
        [
            {"code": "HEART_RATE"},
            {"code": "HR"},
            {"code": "RR"},
            {"code": "VITAL_SIGN//HR//bpm"},
            {"code": "measurement_type"},
        ],
    ),
    Case(
        "null components",
        {
            "labs.csv": """\
subject_id,itemid,valueuom
1,GLU,mg/dL
2,GLU,
3,,mg/dL
4,,
"""
        },
        """\
labs:
  plain: {code: 'f"a//{$itemid}//{$valueuom}"', time: null}
  both: {code: 'f"b//{$itemid ?? ''NO_ITEM''}//{$valueuom ?? ''NO_UNIT''}"', time: null}
  unit: {code: 'f"c//{$itemid}//{$valueuom ?? ''UNK''}"', time: null}
""",
        [
            {"subject_id": 1, "code": "a//GLU//mg/dL", "source_block": "labs/plain"},
            {"subject_id": 1, "code": "b//GLU//mg/dL", "source_block": "labs/both"},
            {"subject_id": 1, "code": "c//GLU//mg/dL", "source_block": "labs/unit"},
            {"subject_id": 2, "code": "b//GLU//NO_UNIT", "source_block": "labs/both"},
            {"subject_id": 2, "code": "c//GLU//UNK", "source_block": "labs/unit"},
            {"subject_id": 3, "code": "b//NO_ITEM//mg/dL", "source_block": "labs/both"},
            {"subject_id": 4, "code": "b//NO_ITEM//NO_UNIT", "source_block": "labs/both"},
        ],
        [
            {"code": "a//GLU//mg/dL"},
            {"code": "b//GLU//NO_UNIT"},
            {"code": "b//GLU//mg/dL"},
            {"code": "b//NO_ITEM//NO_UNIT"},
            {"code": "b//NO_ITEM//mg/dL"},
            {"code": "c//GLU//UNK"},
            {"code": "c//GLU//mg/dL"},
        ],
    ),
    Case(
        "lenient times",
        {
            "lab_results.csv": """\
subject_id,test_name,result_time
1,GLU,2021-01-01
2,HR,not-a-date
3,HR,
4,X,2021-01-02
"""
        },
        """\
lab_results:
  lab:
    code: f"LAB//{$test_name}"
    time: $result_time as ?"%Y-%m-%d"
""",
        [
            {"subject_id": 1, "time": "2021-01-01 00:00:00", "code": "LAB//GLU", "source_block": "lab_results/lab"},
            {"subject_id": 4, "time": "2021-01-02 00:00:00", "code": "LAB//X", "source_block": "lab_results/lab"},
        ],
        [
            {"code": "LAB//GLU"},
            {"code": "LAB//X"},
        ],
    ),
    Case(
        "several formats",
        {
            "lab_results.csv": """\
subject_id,test_name,result_time
1,GLU,01/02/20 10:00
2,HR,01/03/20
3,HR,?
3,HR,
4,X,12/31/21
"""
        },
        """\
lab_results:
  lab:
    code: f"LAB//{$test_name}"
    time: coalesce($result_time::?"%m/%d/%y %H:%M", $result_time::?"%m/%d/%y")
""",
        [
            {"subject_id": 1, "time": "2020-01-02 10:00:00", "code": "LAB//GLU", "source_block": "lab_results/lab"},
            {"subject_id": 2, "time": "2020-01-03 00:00:00", "code": "LAB//HR", "source_block": "lab_results/lab"},
            {"subject_id": 4, "time": "2021-12-31 00:00:00", "code": "LAB//X", "source_block": "lab_results/lab"},
        ],
        [
            {"code": "LAB//GLU"},
            {"code": "LAB//HR"},
            {"code": "LAB//X"},
        ],
    ),
    Case(
        "subjects by expression",
        {
            "m.csv": """\
subject_id,a,pid
1,A,7
2,A,8
3,B,9
4,C,
""",
            "n.csv": """\
subject_id,a
107,x
5,y
""",
        },
        """\
m:
  _defaults: {subject_id: $pid + 100}
  e: {code: $a, time: null}
n:
  e: {code: $a, time: null}
""",
        [
            {"subject_id": 5, "code": "y", "source_block": "n/e"},
            {"subject_id": 107, "code": "A", "source_block": "m/e"},
            {"subject_id": 107, "code": "x", "source_block": "n/e"},
            {"subject_id": 108, "code": "A", "source_block": "m/e"},
            {"subject_id": 109, "code": "B", "source_block": "m/e"},
        ],
        [
            {"code": "A"},
            {"code": "B"},
            {"code": "x"},
            {"code": "y"},
        ],
    ),
    Case(
        "a join",
        {
            "vitals.csv": """\
stay_id,charttime,HR,kind
10,01/02/2020 03:00:00,80,a
11,01/02/2020 04:00:00,81,b
12,01/02/2020 05:00:00,82,c
99,01/02/2020 05:00:00,83,d
""",
            "stays.csv": """\
stay_id,patient_id,kind
10,1,x
11,2,y
12,3,z
""",
        },
        """\
vitals:
  _table:
    join:
      stays: # join the `stays` table...
        key: stay_id # ...on a shared `stay_id` column
        cols: [patient_id] # ...bringing `patient_id` across
  _defaults:
    subject_id: $patient_id # now available from the join
  HR:
    code: f"HR//{$kind}"
    time: $charttime as "%m/%d/%Y %H:%M:%S"
    numeric_value: $HR
""",
        [
            {
                "subject_id": 1,
                "time": "2020-01-02 03:00:00",
                "code": "HR//a",
                "numeric_value": 80.0,
                "source_block": "vitals/HR",
            },
            {
                "subject_id": 2,
                "time": "2020-01-02 04:00:00",
                "code": "HR//b",
                "numeric_value": 81.0,
                "source_block": "vitals/HR",
            },
            {
                "subject_id": 3,
                "time": "2020-01-02 05:00:00",
                "code": "HR//c",
                "numeric_value": 82.0,
                "source_block": "vitals/HR",
            },
        ],
        [
            {"code": "HR//a"},
            {"code": "HR//b"},
            {"code": "HR//c"},
        ],
    ),
    Case(
        "a join that fans out",
        {
            "v.csv": """\
k,x,s
1,a,1
2,b,2
1,c,3
3,d,4
""",
            "a.csv": """\
k,w
2,q
1,p
1,p
1,n
""",
        },
        """\
v:
  _table:
    join:
      a: {key: k, cols: [w]}
  _defaults: {subject_id: $s}
  all: {code: 'f"{$x}//{$w ?? ''none''}"', time: null}
""",
        [
            {"subject_id": 1, "code": "a//n", "source_block": "v/all"},
            {"subject_id": 1, "code": "a//p", "source_block": "v/all"},
            {"subject_id": 2, "code": "b//q", "source_block": "v/all"},
            {"subject_id": 3, "code": "c//n", "source_block": "v/all"},
            {"subject_id": 3, "code": "c//p", "source_block": "v/all"},
            {"subject_id": 4, "code": "d//none", "source_block": "v/all"},
        ],
        [
            {"code": "a//n"},
            {"code": "a//p"},
            {"code": "b//q"},
            {"code": "c//n"},
            {"code": "c//p"},
            {"code": "d//none"},
        ],
    ),
    Case(
        "a join that replaces a column",
        {
            "vitals.csv": """\
stay_id,charttime,HR,kind
10,01/02/2020 03:00:00,80,a
11,01/02/2020 04:00:00,81,b
12,01/02/2020 05:00:00,82,c
99,01/02/2020 05:00:00,83,d
""",
            "stays.csv": """\
stay_id,patient_id,kind
10,1,x
11,2,y
12,3,z
""",
        },
        """\
vitals:
  _table: {join: {stays: {key: stay_id, cols: [patient_id, kind]}}}
  _defaults: {subject_id: $patient_id}
  HR: {code: 'f"HR//{$kind}"', time: null}
""",
        [
            {"subject_id": 1, "code": "HR//x", "source_block": "vitals/HR"},
            {"subject_id": 2, "code": "HR//y", "source_block": "vitals/HR"},
            {"subject_id": 3, "code": "HR//z", "source_block": "vitals/HR"},
        ],
        [
            {"code": "HR//x"},
            {"code": "HR//y"},
            {"code": "HR//z"},
        ],
    ),
    Case(
        "a composite key with a constant",
        {
            "vitals.csv": """\
stay_id,charttime,HR,kind
10,01/02/2020 03:00:00,80,a
11,01/02/2020 04:00:00,81,b
12,01/02/2020 05:00:00,82,c
99,01/02/2020 05:00:00,83,d
""",
            "stays.csv": """\
sid,patient_id,typ
10,1,MAIN
11,2,MAIN
12,3,BASE
12,4,MAIN
""",
        },
        """\
vitals:
  _table:
    cols: {twice: $HR * 2, both: $twice + 1, later: $patient_id * 2, typ: "'MAIN'"}
    join:
      stays: {left_on: [stay_id, typ], right_on: [sid, typ], cols: [patient_id]}
  _defaults: {subject_id: $patient_id}
  HR:
    code: f"HR//{$kind}"
    time: $charttime as "%m/%d/%Y %H:%M:%S"
    numeric_value: $twice
    both: $both
    later: $later
""",
        [
            {
                "subject_id": 1,
                "time": "2020-01-02 03:00:00",
                "code": "HR//a",
                "numeric_value": 160.0,
                "both": 161,
                "later": 2,
                "source_block": "vitals/HR",
            },
            {
                "subject_id": 2,
                "time": "2020-01-02 04:00:00",
                "code": "HR//b",
                "numeric_value": 162.0,
                "both": 163,
                "later": 4,
                "source_block": "vitals/HR",
            },
            {
                "subject_id": 4,
                "time": "2020-01-02 05:00:00",
                "code": "HR//c",
                "numeric_value": 164.0,
                "both": 165,
                "later": 8,
                "source_block": "vitals/HR",
            },
        ],
        [
            {"code": "HR//a"},
            {"code": "HR//b"},
            {"code": "HR//c"},
        ],
    ),
    Case(
        "an aggregated join",
        {
            "patients.csv": """\
subject_id,dod
1,
2,2021-05-02
3,
""",
            "admissions.csv": """\
subject_id,deathtime,n
1,2020-03-05,1
1,2020-03-01,2
2,,5
""",
        },
        """\
patients:
  _table:
    join:
      admissions:
        key: subject_id
        cols:
          deathtime: min
          n: sum
  death: {code: MEDS_DEATH, time: '($deathtime ?? $dod)::"%Y-%m-%d"'}
  all: {code: N, time: null, numeric_value: $n}
""",
        [
            {"subject_id": 1, "code": "N", "numeric_value": 3.0, "source_block": "patients/all"},
            {"subject_id": 1, "time": "2020-03-01 00:00:00", "code": "MEDS_DEATH", "source_block": "patients/death"},
            {"subject_id": 2, "code": "N", "numeric_value": 5.0, "source_block": "patients/all"},
            {"subject_id": 2, "time": "2021-05-02 00:00:00", "code": "MEDS_DEATH", "source_block": "patients/death"},
            {"subject_id": 3, "code": "N", "source_block": "patients/all"},
        ],
        [
            {"code": "MEDS_DEATH"},
            {"code": "N"},
        ],
    ),
    Case(
        "metadata by all and by some components",
        {
            "labs.csv": """\
subject_id,test_name,units,ts,result
1,GLU,mg/dL,2024-01-01 09:30,98.0
1,CREAT,mg/dL,2024-01-01 09:35,1.1
2,GLU,mg/dL,2024-03-02 14:00,105.0
3,GLU,,2024-04-01 08:15,6.1
""",
            "medications.csv": """\
subject_id,medication_name,dose,ts
1,Metformin,500 mg,2024-02-01 08:00
2,Metformin,1000 mg,2024-03-05 09:00
3,Lisinopril,10 mg,2024-04-02 09:00
""",
            "lab_dictionary.csv": """\
test_name,units,label
GLU,mg/dL,Glucose (serum)
GLU,,Glucose (no unit given)
CREAT,mg/dL,Creatinine (serum)
NA,mmol/L,Sodium (serum)
""",
            "med_classes.csv": """\
medication_name,drug_class
Metformin,Antidiabetic
Lisinopril,ACE inhibitor
""",
        },
        """\
labs:
  lab:
    code: 'f"LAB//{$test_name}//{$units ?? ''UNK''}"'
    time: '$ts::"%Y-%m-%d %H:%M"'
    numeric_value: $result
    _metadata:
      lab_dictionary:
        test_name: $test_name
        units: $units
        description: $label
medications:
  med:
    code: 'f"{$medication_name}//{$dose}"'
    time: '$ts::"%Y-%m-%d %H:%M"'
    _metadata:
      med_classes:
        medication_name: $medication_name
        description: $drug_class
""",
        [
            {
                "subject_id": 1,
                "time": "2024-01-01 09:30:00",
                "code": "LAB//GLU//mg/dL",
                "numeric_value": 98.0,
                "source_block": "labs/lab",
            },
            {
                "subject_id": 1,
                "time": "2024-01-01 09:35:00",
                "code": "LAB//CREAT//mg/dL",
                "numeric_value": 1.1,
                "source_block": "labs/lab",
            },
            {
                "subject_id": 1,
                "time": "2024-02-01 08:00:00",
                "code": "Metformin//500 mg",
                "source_block": "medications/med",
            },
            {
                "subject_id": 2,
                "time": "2024-03-02 14:00:00",
                "code": "LAB//GLU//mg/dL",
                "numeric_value": 105.0,
                "source_block": "labs/lab",
            },
            {
                "subject_id": 2,
                "time": "2024-03-05 09:00:00",
                "code": "Metformin//1000 mg",
                "source_block": "medications/med",
            },
            {
                "subject_id": 3,
                "time": "2024-04-01 08:15:00",
                "code": "LAB//GLU//UNK",
                "numeric_value": 6.1,
                "source_block": "labs/lab",
            },
            {
                "subject_id": 3,
                "time": "2024-04-02 09:00:00",
                "code": "Lisinopril//10 mg",
                "source_block": "medications/med",
            },
        ],
        [
            {
                "code": "LAB//CREAT//mg/dL",
                "description": "Creatinine (serum)",
                "code_template": "f\"LAB//{$test_name}//{$units ?? 'UNK'}\"",
            },
            {
                "code": "LAB//GLU//UNK",
                "description": "Glucose (no unit given)",
                "code_template": "f\"LAB//{$test_name}//{$units ?? 'UNK'}\"",
            },
            {
                "code": "LAB//GLU//mg/dL",
                "description": "Glucose (serum)",
                "code_template": "f\"LAB//{$test_name}//{$units ?? 'UNK'}\"",
            },
            {
                "code": "Lisinopril//10 mg",
                "description": "ACE inhibitor",
                "code_template": 'f"{$medication_name}//{$dose}"',
            },
            {
                "code": "Metformin//1000 mg",
                "description": "Antidiabetic",
                "code_template": 'f"{$medication_name}//{$dose}"',
            },
            {
                "code": "Metformin//500 mg",
                "description": "Antidiabetic",
                "code_template": 'f"{$medication_name}//{$dose}"',
            },
        ],
    ),
    Case(
        "metadata of one event only",
        {
            "vitals.csv": """\
subject_id,itemid
1,220045
2,220045
3,220179
""",
            "labs.csv": """\
subject_id,itemid
1,220045
2,220045
3,220045
""",
            "d_vitals.csv": """\
itemid,label
220045,Heart Rate
220179,NBP systolic
""",
        },
        """\
vitals:
  vital:
    code: 'f"VITAL//{$itemid}"'
    time:
    _metadata:
      d_vitals:
        itemid: $itemid
        description: $label
labs:
  lab:
    code: 'f"LAB//{$itemid}"'
    time:
""",
        [
            {"subject_id": 1, "code": "LAB//220045", "source_block": "labs/lab"},
            {"subject_id": 1, "code": "VITAL//220045", "source_block": "vitals/vital"},
            {"subject_id": 2, "code": "LAB//220045", "source_block": "labs/lab"},
            {"subject_id": 2, "code": "VITAL//220045", "source_block": "vitals/vital"},
            {"subject_id": 3, "code": "LAB//220045", "source_block": "labs/lab"},
            {"subject_id": 3, "code": "VITAL//220179", "source_block": "vitals/vital"},
        ],
        [
            {"code": "LAB//220045"},
            {"code": "VITAL//220045", "description": "Heart Rate", "code_template": 'f"VITAL//{$itemid}"'},
            {"code": "VITAL//220179", "description": "NBP systolic", "code_template": 'f"VITAL//{$itemid}"'},
        ],
    ),
    Case(
        "metadata of the event's own table",
        {
            "chartevents.csv": """\
subject_id,itemid,long_label,ts
1,220045,Heart Rate,2024-01-01 09:30
2,220045,Heart Rate,2024-03-02 14:00
3,220179,NBP systolic,2024-04-01 08:15
3,5,,2024-04-01 08:15
"""
        },
        """\
chartevents:
  chart:
    code: 'f"CHART//{$itemid}"'
    time: '$ts::"%Y-%m-%d %H:%M"'
    _metadata:
      _self:
        description: '$long_label'
        loud: 'f"{$long_label}!"'
""",
        [
            {
                "subject_id": 1,
                "time": "2024-01-01 09:30:00",
                "code": "CHART//220045",
                "source_block": "chartevents/chart",
            },
            {
                "subject_id": 2,
                "time": "2024-03-02 14:00:00",
                "code": "CHART//220045",
                "source_block": "chartevents/chart",
            },
            {
                "subject_id": 3,
                "time": "2024-04-01 08:15:00",
                "code": "CHART//220179",
                "source_block": "chartevents/chart",
            },
            {"subject_id": 3, "time": "2024-04-01 08:15:00", "code": "CHART//5", "source_block": "chartevents/chart"},
        ],
        [
            {
                "code": "CHART//220045",
                "description": "Heart Rate",
                "code_template": 'f"CHART//{$itemid}"',
                "loud": ["Heart Rate!"],
            },
            {
                "code": "CHART//220179",
                "description": "NBP systolic",
                "code_template": 'f"CHART//{$itemid}"',
                "loud": ["NBP systolic!"],
            },
            {"code": "CHART//5"},
        ],
    ),
    Case(
        "raw keys rather than what the code shows",
        {
            "vitals.csv": """\
subject_id,itemid
1,220045
2,220179
3,220045
""",
            "diagnoses.csv": """\
subject_id,icd_code
1,E119
2,I10
3,E119
""",
            "d_items.parquet": pl.DataFrame({"itemid": [220045.0, 220179.0], "label": ["Heart Rate", "NBP systolic"]}),
            "d_icd.csv": """\
icd_code,long_title
E119,Type 2 diabetes
I10,Essential hypertension
E11,Should never match
""",
        },
        """\
vitals:
  vital:
    code: 'f"VITAL//{$itemid}"'
    time:
    _metadata:
      d_items:
        itemid: $itemid
        description: $label
        number: $itemid
diagnoses:
  dx:
    code: 'f"DX//{substring($icd_code, 0, 3)}"'
    time:
    _metadata:
      d_icd:
        icd_code: $icd_code
        description: $long_title
""",
        [
            {"subject_id": 1, "code": "DX//E11", "source_block": "diagnoses/dx"},
            {"subject_id": 1, "code": "VITAL//220045", "source_block": "vitals/vital"},
            {"subject_id": 2, "code": "DX//I10", "source_block": "diagnoses/dx"},
            {"subject_id": 2, "code": "VITAL//220179", "source_block": "vitals/vital"},
            {"subject_id": 3, "code": "DX//E11", "source_block": "diagnoses/dx"},
            {"subject_id": 3, "code": "VITAL//220045", "source_block": "vitals/vital"},
        ],
        [
            {
                "code": "DX//E11",
                "description": "Type 2 diabetes",
                "code_template": 'f"DX//{substring($icd_code, 0, 3)}"',
            },
            {
                "code": "DX//I10",
                "description": "Essential hypertension",
                "code_template": 'f"DX//{substring($icd_code, 0, 3)}"',
            },
            {
                "code": "VITAL//220045",
                "description": "Heart Rate",
                "code_template": 'f"VITAL//{$itemid}"',
                "number": ["220045.0"],
            },
            {
                "code": "VITAL//220179",
                "description": "NBP systolic",
                "code_template": 'f"VITAL//{$itemid}"',
                "number": ["220179.0"],
            },
        ],
    ),
    Case(
        "keys by expressions",
        {
            "vitals.csv": """\
subject_id,itemid
1,220045
2,220179
3,220045
""",
            "d_items.csv": """\
omop_source_code,label
220045,Heart Rate
220179,NBP systolic
""",
        },
        """\
vitals:
  vital:
    code: 'f"VITAL//{$itemid}"'
    time:
    _metadata:
      d_items:
        itemid: $omop_source_code # key sourced from a differently-named column
        description: $label
        vocab: '"OMOP"' # quoted -> a string literal, not a column
""",
        [
            {"subject_id": 1, "code": "VITAL//220045", "source_block": "vitals/vital"},
            {"subject_id": 2, "code": "VITAL//220179", "source_block": "vitals/vital"},
            {"subject_id": 3, "code": "VITAL//220045", "source_block": "vitals/vital"},
        ],
        [
            {
                "code": "VITAL//220045",
                "description": "Heart Rate",
                "code_template": 'f"VITAL//{$itemid}"',
                "vocab": ["OMOP"],
            },
            {
                "code": "VITAL//220179",
                "description": "NBP systolic",
                "code_template": 'f"VITAL//{$itemid}"',
                "vocab": ["OMOP"],
            },
        ],
    ),
    Case(
        "several metadata tables",
        {
            "labs.csv": """\
subject_id,test_name
1,GLU
2,GLU
3,GLU
""",
            "local_dictionary.csv": """\
test_name,label,loinc_code
GLU,Serum glucose,2345-7
GLU,Serum glucose,2339-0
""",
            "loinc_ontology.csv": """\
test_name,long_name,loinc_code
GLU,Glucose in Serum or Plasma,2345-7
""",
        },
        """\
labs:
  lab:
    code: $test_name
    time:
    _metadata:
      local_dictionary:
        test_name: $test_name
        description: $label
        loinc: $loinc_code
      loinc_ontology:
        test_name: $test_name
        description: $long_name
        parent_codes: 'f"LOINC/{$loinc_code}"'
""",
        [
            {"subject_id": 1, "code": "GLU", "source_block": "labs/lab"},
            {"subject_id": 2, "code": "GLU", "source_block": "labs/lab"},
            {"subject_id": 3, "code": "GLU", "source_block": "labs/lab"},
        ],
        [
            {
                "code": "GLU",
                "description": "Serum glucose\nGlucose in Serum or Plasma",
                "parent_codes": ["LOINC/2345-7"],
                "code_template": "$test_name",
                "loinc": ["2339-0", "2345-7"],
            },
        ],
    ),
    Case(
        "parents by cases",
        {
            "labs.csv": """\
subject_id,icd_code,icd_version
1,0389,9
2,A01,10
3,Q,8
""",
            "d.csv": """\
icd_code,icd_version,t
0389,9,Sep
A01,10,Typh
Q,8,q
""",
        },
        """\
labs:
  lab:
    code: 'f"{$icd_version}//{$icd_code}"'
    time:
    _metadata:
      d:
        icd_code: $icd_code
        icd_version: $icd_version
        description: $t
        parent_codes: >-
          f"ICD{$icd_version}CM/{$icd_code}" if $icd_version == "9"
          else f"ICD{$icd_version}CM/{$icd_code}" if $icd_version == "10"
""",
        [
            {"subject_id": 1, "code": "9//0389", "source_block": "labs/lab"},
            {"subject_id": 2, "code": "10//A01", "source_block": "labs/lab"},
            {"subject_id": 3, "code": "8//Q", "source_block": "labs/lab"},
        ],
        [
            {
                "code": "10//A01",
                "description": "Typh",
                "parent_codes": ["ICD10CM/A01"],
                "code_template": 'f"{$icd_version}//{$icd_code}"',
            },
            {"code": "8//Q", "description": "q", "code_template": 'f"{$icd_version}//{$icd_code}"'},
            {
                "code": "9//0389",
                "description": "Sep",
                "parent_codes": ["ICD9CM/0389"],
                "code_template": 'f"{$icd_version}//{$icd_code}"',
            },
        ],
    ),
    Case(
        "metadata that says nothing",
        {
            "m.csv": """\
subject_id,a,b
1,A,1
2,A,2
3,B,3
3,,3
4,C,4
4,D,5
""",
            "d.csv": """\
a,t
A,first
A,second
A,first
,nul
C,
""",
            "e.csv": """\
b,t
1,one
2,two
5,
""",
        },
        """\
m:
  e:
    code: 'f"{$a ?? ''U''}//{$b}"'
    time: null
    _metadata:
      d: {a: $a, description: $t, parent_codes: $t}
      e: {b: $b, description: $t, z: $t, y: cst}
  f:
    code: 'f"F//{$a}" if $b > 1 else "low"'
    time: null
    _metadata:
      d: {a: $a, description: $t}
""",
        [
            {"subject_id": 1, "code": "A//1", "source_block": "m/e"},
            {"subject_id": 1, "code": "low", "source_block": "m/f"},
            {"subject_id": 2, "code": "A//2", "source_block": "m/e"},
            {"subject_id": 2, "code": "F//A", "source_block": "m/f"},
            {"subject_id": 3, "code": "B//3", "source_block": "m/e"},
            {"subject_id": 3, "code": "F//B", "source_block": "m/f"},
            {"subject_id": 3, "code": "U//3", "source_block": "m/e"},
            {"subject_id": 4, "code": "C//4", "source_block": "m/e"},
            {"subject_id": 4, "code": "D//5", "source_block": "m/e"},
            {"subject_id": 4, "code": "F//C", "source_block": "m/f"},
            {"subject_id": 4, "code": "F//D", "source_block": "m/f"},
        ],
        [
            {
                "code": "A//1",
                "description": "first\nsecond\none",
                "parent_codes": ["first", "second"],
                "code_template": "f\"{$a ?? 'U'}//{$b}\"",
                "z": ["one"],
                "y": ["cst"],
            },
            {
                "code": "A//2",
                "description": "first\nsecond\ntwo",
                "parent_codes": ["first", "second"],
                "code_template": "f\"{$a ?? 'U'}//{$b}\"",
                "z": ["two"],
                "y": ["cst"],
            },
            {"code": "B//3"},
            {"code": "C//4"},
            {"code": "D//5", "code_template": "f\"{$a ?? 'U'}//{$b}\"", "y": ["cst"]},
            {"code": "F//A", "description": "first\nsecond", "code_template": 'f"F//{$a}" if $b > 1 else "low"'},
            {"code": "F//B"},
            {"code": "F//C"},
            {"code": "F//D"},
            {"code": "U//3", "description": "nul", "parent_codes": ["nul"], "code_template": "f\"{$a ?? 'U'}//{$b}\""},
            {"code": "low", "description": "first\nsecond", "code_template": 'f"F//{$a}" if $b > 1 else "low"'},
        ],
    ),
    Case(
        "literals and values",
        {
            "m.csv": """\
subject_id,a,b
1,A,1
2,A,2
3,B,3
3,C,
"""
        },
        """\
m:
  numbers: {code: 42, time: 2020-01-01, numeric_value: 5}
  truths:
    {code: true, time: null, numeric_value: $b + 1, x: true, y: $a == "A", categorical_value: $a, boolean_value: $b > 1}
  texts: {code: 'f"{$b}"', time: '"2020-01-05"::"%Y-%m-%d"', text_value: 'f"{len_chars($a)}"'}
  years: {code: 'len_chars($a)', time: '($b + 2000)::year::datetime', numeric_value: $b}
  sums: {code: $b + 1, time: null, numeric_value: '$b::float'}
  words: {code: z, time: '2020-01-01 11:30'}
""",
        [
            {"subject_id": 1, "code": "2", "numeric_value": 1.0, "source_block": "m/sums"},
            {
                "subject_id": 1,
                "code": "true",
                "numeric_value": 2.0,
                "source_block": "m/truths",
                "x": True,
                "y": True,
                "categorical_value": "A",
                "boolean_value": False,
            },
            {
                "subject_id": 1,
                "time": "2001-01-01 00:00:00",
                "code": "1",
                "numeric_value": 1.0,
                "source_block": "m/years",
            },
            {
                "subject_id": 1,
                "time": "2020-01-01 00:00:00",
                "code": "42",
                "numeric_value": 5.0,
                "source_block": "m/numbers",
            },
            {"subject_id": 1, "time": "2020-01-01 11:30:00", "code": "z", "source_block": "m/words"},
            {"subject_id": 1, "time": "2020-01-05 00:00:00", "code": "1", "text_value": "1", "source_block": "m/texts"},
            {"subject_id": 2, "code": "3", "numeric_value": 2.0, "source_block": "m/sums"},
            {
                "subject_id": 2,
                "code": "true",
                "numeric_value": 3.0,
                "source_block": "m/truths",
                "x": True,
                "y": True,
                "categorical_value": "A",
                "boolean_value": True,
            },
            {
                "subject_id": 2,
                "time": "2002-01-01 00:00:00",
                "code": "1",
                "numeric_value": 2.0,
                "source_block": "m/years",
            },
            {
                "subject_id": 2,
                "time": "2020-01-01 00:00:00",
                "code": "42",
                "numeric_value": 5.0,
                "source_block": "m/numbers",
            },
            {"subject_id": 2, "time": "2020-01-01 11:30:00", "code": "z", "source_block": "m/words"},
            {"subject_id": 2, "time": "2020-01-05 00:00:00", "code": "2", "text_value": "1", "source_block": "m/texts"},
            {"subject_id": 3, "code": "4", "numeric_value": 3.0, "source_block": "m/sums"},
            {
                "subject_id": 3,
                "code": "true",
                "numeric_value": 4.0,
                "source_block": "m/truths",
                "x": True,
                "y": False,
                "categorical_value": "B",
                "boolean_value": True,
            },
            {
                "subject_id": 3,
                "code": "true",
                "source_block": "m/truths",
                "x": True,
                "y": False,
                "categorical_value": "C",
            },
            {
                "subject_id": 3,
                "time": "2003-01-01 00:00:00",
                "code": "1",
                "numeric_value": 3.0,
                "source_block": "m/years",
            },
            {
                "subject_id": 3,
                "time": "2020-01-01 00:00:00",
                "code": "42",
                "numeric_value": 5.0,
                "source_block": "m/numbers",
            },
            {"subject_id": 3, "time": "2020-01-01 11:30:00", "code": "z", "source_block": "m/words"},
            {"subject_id": 3, "time": "2020-01-05 00:00:00", "code": "3", "text_value": "1", "source_block": "m/texts"},
        ],
        [
            {"code": "1"},
            {"code": "2"},
            {"code": "3"},
            {"code": "4"},
            {"code": "42"},
            {"code": "true"},
            {"code": "z"},
        ],
    ),
    Case(
        "the form of mappings",
        {
            "m.csv": """\
subject_id,a,b
1,A,1
2,A,2
3,B,3
"""
        },
        """\
_defaults: {subject_id: {column: subject_id}}
m:
  e: {code: {column: a}, time: null, numeric_value: {add: [{column: b}, 1]}}
""",
        [
            {"subject_id": 1, "code": "A", "numeric_value": 2.0, "source_block": "m/e"},
            {"subject_id": 2, "code": "A", "numeric_value": 3.0, "source_block": "m/e"},
            {"subject_id": 3, "code": "B", "numeric_value": 4.0, "source_block": "m/e"},
        ],
        [
            {"code": "A"},
            {"code": "B"},
        ],
    ),
    Case(
        "dtypes of parquet",
        {
            "p.parquet": pl.DataFrame(
                {
                    "subject_id": [1, 1, 2, None, 3],
                    "f": [98.0, 1.5, None, 3.0, 7.0],
                    "i": [1, 2, 3, 4, 5],
                    "b": [True, False, None, True, True],
                    "d": [date(2020, 1, 1), date(2020, 1, 1), date(2020, 1, 1), date(2020, 1, 1), date(2020, 1, 1)],
                    "t": [
                        datetime(2020, 1, 1, 3, 0),
                        datetime(2020, 1, 1, 3, 0),
                        datetime(2020, 1, 1, 3, 0),
                        datetime(2020, 1, 1, 3, 0),
                        datetime(2020, 1, 1, 3, 0),
                    ],
                }
            )
        },
        """\
p:
  f: {code: 'f"F//{$f}"', time: $d, v: $f}
  i: {code: $i, time: $d, v: $i}
  b: {code: 'f"{$b}"', time: $d, bb: $b}
  d: {code: 'f"{$d}|{$t}"', time: $t}
""",
        [
            {"subject_id": 1, "time": "2020-01-01 00:00:00", "code": "1", "v": 1.0, "source_block": "p/i"},
            {"subject_id": 1, "time": "2020-01-01 00:00:00", "code": "2", "v": 2.0, "source_block": "p/i"},
            {"subject_id": 1, "time": "2020-01-01 00:00:00", "code": "F//1.5", "v": 1.5, "source_block": "p/f"},
            {"subject_id": 1, "time": "2020-01-01 00:00:00", "code": "F//98.0", "v": 98.0, "source_block": "p/f"},
            {"subject_id": 1, "time": "2020-01-01 00:00:00", "code": "false", "source_block": "p/b", "bb": False},
            {"subject_id": 1, "time": "2020-01-01 00:00:00", "code": "true", "source_block": "p/b", "bb": True},
            {
                "subject_id": 1,
                "time": "2020-01-01 03:00:00",
                "code": "2020-01-01|2020-01-01 03:00:00.000000",
                "source_block": "p/d",
            },
            {"subject_id": 2, "time": "2020-01-01 00:00:00", "code": "3", "v": 3.0, "source_block": "p/i"},
            {
                "subject_id": 2,
                "time": "2020-01-01 03:00:00",
                "code": "2020-01-01|2020-01-01 03:00:00.000000",
                "source_block": "p/d",
            },
            {"subject_id": 3, "time": "2020-01-01 00:00:00", "code": "5", "v": 5.0, "source_block": "p/i"},
            {"subject_id": 3, "time": "2020-01-01 00:00:00", "code": "F//7.0", "v": 7.0, "source_block": "p/f"},
            {"subject_id": 3, "time": "2020-01-01 00:00:00", "code": "true", "source_block": "p/b", "bb": True},
            {
                "subject_id": 3,
                "time": "2020-01-01 03:00:00",
                "code": "2020-01-01|2020-01-01 03:00:00.000000",
                "source_block": "p/d",
            },
        ],
        [
            {"code": "1"},
            {"code": "2"},
            {"code": "2020-01-01|2020-01-01 03:00:00.000000"},
            {"code": "3"},
            {"code": "5"},
            {"code": "F//1.5"},
            {"code": "F//7.0"},
            {"code": "F//98.0"},
            {"code": "false"},
            {"code": "true"},
        ],
    ),
]


def extraction(folder, tables, event_file, last="merge_to_MEDS_cohort"):
    x = Extraction(folder)
    for name, content in tables.items():
        x.table(name, content)
    x.events(event_file)
    one_split = {"train": "1.0", "tuning": "null", "held_out": "null"}
    x.run_until(last, *(f"split_and_shard_subjects.split_fracs.{key}={value}" for key, value in one_split.items()))
    return x


def plain(value):
    if isinstance(value, float):
        return round(value, 6)
    return str(value) if isinstance(value, datetime) else value


def rows(df):
    found = [{key: plain(value) for key, value in row.items() if value is not None} for row in df.rows(named=True)]
    return sorted(found, key=lambda r: (r["subject_id"], r.get("time", ""), r["code"], r["source_block"], str(r)))
