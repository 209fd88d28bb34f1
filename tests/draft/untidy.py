"""Untidy folders of raw tables, none like another, as text of their files."""

import random
from datetime import datetime, timedelta

import polars as pl

Folder = dict[str, str | bytes | pl.DataFrame]

N = 24
"""Subjects in each folder."""


def lines(*rows: object) -> str:
    return "".join(f"{row}\n" for row in rows)


def german(n: int = N) -> Folder:
    """Semicolons, cp1252, decimal commas, days first, German names; drugs name the case alone."""
    rng = random.Random(1)
    day = datetime(2023, 1, 5, 8, 30)
    patients, cases, labs, drugs = ["PatNr;Geschlecht;Geburtsdatum;Sterbedatum;Blutgruppe"], [], [], []
    for i in range(n):
        died = f"{1 + i % 28:02}.06.2024" if i % 6 == 0 else ""
        patients.append(f"{5000 + i};{'mw'[i % 2]};{1 + i % 28:02}.{1 + i % 12:02}.{1940 + i};{died};{'A0B'[i % 3]}")
        at = day + timedelta(days=i)
        out = at + timedelta(days=3 + i % 4)
        ward = ["Chirurgie", "Innere", "Gynäkologie"][i % 3]
        cases.append(f"{90000 + i};{5000 + i};{at:%d.%m.%Y %H:%M};{out:%d.%m.%Y %H:%M};{ward}")
        for k in range(5):
            value = ["<5", "trüb", "k.A."][i % 3] if k == 4 else f"{rng.uniform(1, 9):.1f}".replace(".", ",")
            name, unit = [("Kalium", "mmol/l"), ("Größe", "cm"), ("CRP", "mg/l")][k % 3]
            labs.append(f"{5000 + i};{at + timedelta(hours=k):%d.%m.%Y %H:%M};{name};{value};{unit}")
            drugs.append(f"{90000 + i};{at + timedelta(hours=k):%d.%m.%Y};{['Heparin', 'Insulin'][k % 2]};{k + 1},5;IE")
    return {
        "Stamm/Patienten.csv": lines(*patients).encode("cp1252"),
        "Stamm/Fälle.csv": lines("FallNr;PatNr;Aufnahme;Entlassung;Station", *cases).encode("cp1252"),
        "Laborwerte.csv": lines("PatNr;Zeitpunkt;Untersuchung;Ergebnis;Einheit", *labs).encode("cp1252"),
        "Medikation.csv": lines("FallNr;Datum;Medikament;Dosis;Einheit", *drugs).encode("cp1252"),
    }


def american(n: int = N) -> Folder:
    """Ids with leading zeros, months first, a day and a time of day apart, seconds from 1970; a column per quantity."""
    people, vitals, pumps, charges = [], [], [], []
    for i in range(n):
        people.append(f"{i:06},{'FM'[i % 2]},{1 + i % 12:02}/{1 + i % 28:02}/{1950 + i},{70 + i}.5,Doe{i},White")
        for k in range(3):
            pulse = "" if k == 2 else 60 + i + k
            vitals.append(f"{i:06},{1 + k:02}/{13 + k}/2024,{8 + k:02}:15,{pulse},{36.5 + k / 10},{110 + i}/{70 + k}")
            at = 1_700_000_000 + 3600 * (24 * i + k)
            pumps.append(f"{i:06},{at},Propofol,{k + 0.5},mL/h")
        charges.append(f"{i},{100 + i}")
    return {
        "person.csv": lines("mrn,sex,dob,height_in,last_name,race", *people),
        "vitals.csv.gz": lines("mrn,chart_date,chart_time,HR,Temp (F),blood pressure", *vitals),
        "pumps.csv": lines("mrn,timestamp,drug,rate,rate_uom", *pumps),
        "price_list.csv": lines("position,cents", *charges),
    }


def hashed(n: int = N) -> Folder:
    """Ids that are UUIDs, under another name in each table, times with zones, milliseconds from 1970 in parquet."""
    rng = random.Random(2)
    ids = [
        f"{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-4abc-9def-{rng.getrandbits(48):012x}" for _ in range(n)
    ]
    start = datetime(2022, 3, 1, 12)
    people = pl.DataFrame({"person_id": ids, "gender_concept": [8507 + 25 * (i % 2) for i in range(n)]})
    people = people.with_columns(birth_datetime=pl.lit(datetime(1970, 5, 5)), year_of_birth=pl.lit(1970))
    rows = [
        (ids[i], start + timedelta(days=i, hours=k), 3000 + k % 4, float(i + k)) for i in range(n) for k in range(6)
    ]
    measured = pl.DataFrame(rows, schema=["pseudonym", "measured_at", "concept_id", "value_as_number"], orient="row")
    notes = lines(
        "uuid|written|note",
        *(
            f'{ids[i]}|2022-04-{1 + i % 28:02}T10:00:00+02:00|"Patient {i} feels well, ""no pain"", walks | eats"'
            for i in range(n)
        ),
    )
    device = [(ids[i], 1_650_000_000_000 + 86_400_000 * i, 95.0 + i % 5) for i in range(n)]
    return {
        "omop/person.parquet": people,
        "omop/measurement.parquet": measured.with_columns(pl.col("measured_at").dt.replace_time_zone("Europe/Paris")),
        "omop/concept.csv": lines(
            "concept_id,concept_name,vocabulary", *(f"{3000 + k},Test {k},LOINC" for k in range(4))
        ),
        "notes.txt": notes,
        "device/readings.parquet": pl.DataFrame(device, schema=["subject_key", "event_time", "spo2"], orient="row"),
    }


def scattered(n: int = N) -> Folder:
    """Parts by year, several formats in one column, Latin-1, tables without rows, without bytes, and of nobody."""
    first, second, stays = [], [], []
    for i in range(n):
        for k in range(4):
            at = datetime(2023, 1 + i % 12, 1 + i % 28, 6 + k)
            text = f"{at:%Y-%m-%d %H:%M:%S}" if k % 2 else f"{at:%d/%m/%Y}"
            first.append(f"{i + 1000}\t{text}\t0{380 + k}\t{k + 1}.0\tmg")
            second.append(f"{i + 1000}\t{at.replace(year=2024):%Y-%m-%d %H:%M:%S}\t0{380 + k}\tpositif\t")
        stays.append(f"S{i:03}\t{i + 1000}\t2023-{1 + i % 12:02}-{1 + i % 28:02}\tCardiologie Sévère")
    head = "patient_id\tdate_prelevement\tcode\tresultat\tunite"
    dx = [f"S{i:03}\tI{10 + i % 3}\t10" for i in range(n)]
    return {
        "bio/analyses_2023.tsv": lines(head, *first),
        "bio/analyses_2024.tsv": lines(head, *second),
        "bio/codes.csv": lines("code,libelle", *(f'0{380 + k},"Dosage, n° {k}"' for k in range(4))).encode("latin-1"),
        "sejours.tsv": lines("sejour_id\tpatient_id\tdate_entree\tservice", *stays).encode("latin-1"),
        "diag.txt.gz": lines("sejour_id\ticd\tversion", *dx),
        "empty.csv": "",
        "header_only.csv": "patient_id,date,code\n",
        "weather.csv": lines("day,celsius", *(f"2024-01-{d:02},{d}.5" for d in range(1, 20))),
    }


FOLDERS = {"german": german, "american": american, "hashed": hashed, "scattered": scattered}
