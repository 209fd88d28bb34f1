"""YAML files of the user's are read as they stand."""

import pytest

from MEDS_transforms.settings.yaml_file import read_yaml


def read(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", None),
        ("a: ${oc.env:HOME}", {"a": "${oc.env:HOME}"}),
        ("a: ${load_yaml_file:/etc/passwd}", {"a": "${load_yaml_file:/etc/passwd}"}),
        ("a: 1e5", {"a": 1e5}),
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: [1, 1.5, true, null, x]", {"a": [1, 1.5, True, None, "x"]}),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("ä: '€'", {"ä": "€"}),
    ],
)
def test_what_a_file_says(tmp_path, text, content):
    assert read(tmp_path, text) == content


BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "duplicate key 'a'.*\n?.*line 2"),
        ("a: {b: 1, b: 2}", "duplicate key 'b'"),
        ("a: [", "not valid YAML"),
        ("a:\tb: c", "not valid YAML"),
        (b"a: caf\xe9", "is not UTF-8"),
        (BOMB, "aliases stand for more than"),
        ("a: &a [*a]", "nested"),
        ("[" * 5000, "nested|not valid YAML"),
        ("a: " + "[" * 200 + "]" * 200, "nested more than 100 levels"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_what_is_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said) as info:
        read(tmp_path, text)
    assert "a.yaml" in str(info.value)
