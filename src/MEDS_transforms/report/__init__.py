"""The report on a dataset, one page of figures and charts, or on what differs between two: `MEDS_transforms report`.

`dataset` finds the shards, `pieces` reads them, `counting` and `values` count what is in them, `summary` has the
figures. `stage_accounts` and `usage` read what the stages left beside the data. The modules `…_sections` and
`…_comparison` turn this into `parts` of a page, with `charts`; `page` writes it.
"""
