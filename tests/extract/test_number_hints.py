"""What to do about texts that are no numbers, by what they look like."""

import pytest

from MEDS_transforms.extract.number_hints import number_hint


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("11,3", "Set decimal: ','"),
        ("-0,5 ", "Set decimal: ','"),
        ("<5,5", "Set decimal: ',' and numbers: lenient"),
        (">= 100", "Set numbers: lenient"),
        ("1,234.5", "Remove the thousands separators"),
        ("1.234,5", "Remove the thousands separators"),
        ("12 345", "Remove the thousands separators"),
        ("1,234,567", "Remove the thousands separators"),
        ("20 mg", "units or other words are behind"),
        ("positive", "name a column of numbers"),
        ("2020-01-01", "name a column of numbers"),
    ],
)
def test_what_to_do(text, remedy):
    assert remedy in number_hint([text])


def test_without_an_example_something_is_said():
    assert number_hint([])
