"""Whether a folder is a valid MEDS dataset: its layout, schemas, order, splits, codes and values."""
