"""What a MEDS dataset is: its columns, files, dtypes, subjects, splits and codes."""
