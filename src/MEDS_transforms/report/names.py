"""The figures of a report: what their columns are called, in tables and charts alike."""

SUBJECTS, EVENTS, MEASUREMENTS, STATIC = "subjects", "events", "measurements", "static"
VALUES, LEAST, GREATEST, TOTAL = "values", "least", "greatest", "total"
FIRST, LAST, BIRTH, PIECES = "first", "last", "birth", "pieces"
MONTH, YEAR, AGE = "month", "year", "age"
VALUE, WEIGHT = "value", "weight"
UNIT = "unit"
