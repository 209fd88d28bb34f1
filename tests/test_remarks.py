"""What checks find, as it is shown."""

from io import StringIO

from rich.console import Console

from MEDS_transforms.remarks import Remark, Severity, errors_in, print_remarks

NOTE = Remark(Severity.NOTE, "tables", "raw", "3 tables [bold]")
ERROR = Remark(Severity.ERROR, "time_format", "labs.lab.time", "'5 May' is no time", "Add a format.")


def test_errors_come_first_and_nothing_in_them_is_markup():
    console = Console(file=StringIO(), width=20)
    print_remarks(console, [NOTE, ERROR])
    assert console.file.getvalue() == (
        "error  labs.lab.time\n    '5 May' is no time\n    Add a format.\nnote  raw\n    3 tables [bold]\n"
    )


def test_every_line_of_a_text_is_indented():
    console = Console(file=StringIO(), width=20)
    print_remarks(console, [Remark(Severity.NOTE, "rows", "0.parquet", "2 rows:\nrow 1\nrow 7")])
    assert console.file.getvalue() == "note  0.parquet\n    2 rows:\n    row 1\n    row 7\n"


def test_errors_are_told_from_the_rest():
    assert errors_in([NOTE, ERROR]) == [ERROR]
    assert ERROR.as_json()["severity"] == "error"
