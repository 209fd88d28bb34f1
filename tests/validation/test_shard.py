"""The rows of a shard: what is found and counted is what a plain look at each row finds, wherever a piece ends."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.validation import batches, shard
from MEDS_transforms.validation.findings import Findings
from MEDS_transforms.validation.shard import N_ROWS, check_shard

from .datasets import TRAIN_0, table, write

T = datetime(2000, 1, 1)
ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, 1, 2, 3]),
        st.sampled_from([None, *(T + timedelta(days=day) for day in range(4))]),
        st.sampled_from([None, "A", "", "MEDS_BIRTH", "MEDS_BIRTH//x", "MEDS_DEATH", "MEDS_DEATHS"]),
        st.sampled_from([None, 1.0, float("nan"), float("inf")]),
    ),
    min_size=1,
    max_size=25,
)


def is_a(code, name):
    return code == name or (code or "").startswith(f"{name}//")


def looked_at(rows):
    """What is wrong with rows, one after the other."""
    found, seen, born, dead = Counter(), [], Counter(), Counter()
    last_again = Counter()
    of = {subject: [when for s, when, *_ in rows if s == subject and when] for subject, *_ in rows}
    for i, (subject, when, code, value) in enumerate(rows):
        before = rows[i - 1] if i else (object(), None)
        found["null_subject"] += subject is None
        found["null_code"] += code is None
        found["empty_code"] += code == ""
        found["not_finite"] += value is not None and value != 1
        if subject == before[0]:
            found["static_order"] += when is None and before[1] is not None
            found["time_order"] += when is not None and before[1] is not None and when < before[1]
        elif subject is not None:
            last_again[subject] += subject in seen
        seen.append(subject)
        for name, counts in (("MEDS_BIRTH", born), ("MEDS_DEATH", dead)):
            if is_a(code, name) and when and subject:
                counts[subject] += 1
                kind = "birth" if name == "MEDS_BIRTH" else "death"
                found[f"{kind}_repeats"] += counts[subject] > 1
                found["birth_after_events"] += kind == "birth" and when > min(of[subject])
                found["death_before_events"] += kind == "death" and when < max(of[subject])
    found["not_contiguous"] = sum(n > 0 for n in last_again.values())
    return {kind: n for kind, n in found.items() if n}


@pytest.mark.parametrize("many", [2, 1_000_000])
@given(rows=ROWS, size=st.integers(1, 6), group=st.integers(1, 30))
def test_a_shard_is_checked_as_if_row_by_row(many, rows, size, group):
    content = table(rows)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "BATCH_ROWS", size)
        patch.setattr(shard, "_MANY", many)
        write(Path(folder), TRAIN_0, content, row_group_size=group)
        path, findings = Path(folder) / TRAIN_0, Findings(Path(folder))
        facts = check_shard(path, pq.read_schema(path), TRAIN_0, findings, id)
        assert {f.kind: f.n for f in findings.all()} == looked_at(rows)
    assert facts.rows == len(rows)
    assert facts.static == sum(when is None for _, when, *_ in rows)
    assert dict(facts.codes.iter_rows()) == Counter(code for _, _, code, _ in rows if code is not None)
    per_subject = dict(facts.subjects.select("subject_id", N_ROWS).iter_rows())
    assert per_subject == Counter(subject for subject, *_ in rows if subject is not None)
    pairs = [(subject, when) for subject, when, *_ in rows]
    assert facts.events == sum(
        when is not None and (not i or pairs[i] != pairs[i - 1]) for i, (_, when) in enumerate(pairs)
    )


def test_numbers_of_rows_are_those_of_the_shard_wherever_a_piece_ends(root, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 2)
    rows = [(1, T, "A", None)] * 5 + [(1, T, None, None), (2, T, "A", None), (1, T, "A", None)]
    write(root, TRAIN_0, table(rows), row_group_size=5)
    findings = Findings(root)
    check_shard(root / TRAIN_0, pq.read_schema(root / TRAIN_0), TRAIN_0, findings, id)
    assert {f.kind: [row.row for row in f.rows] for f in findings.all()} == {"null_code": [5], "not_contiguous": [7]}
    assert [row.subject_id for f in findings.all() for row in f.rows] == [1, 1]


@given(rows=ROWS)
def test_sorted_rows_are_in_order(rows):
    known = [row for row in rows if row[0] is not None]
    known.sort(key=lambda row: (-row[0], row[1] is not None, row[1] or T))
    with TemporaryDirectory() as folder:
        write(Path(folder), TRAIN_0, table(known or [(1, None, "A", None)]))
        findings = Findings(Path(folder))
        path = Path(folder) / TRAIN_0
        check_shard(path, pq.read_schema(path), TRAIN_0, findings, id)
        assert not findings.has("not_contiguous", "time_order", "static_order")
