"""Drafts an event conversion file and a pipeline file from a look at raw tables.

    folder -> tables -> samples -> profiles of columns -> subjects, keys, tables of codes -> events -> the two files

`words` is the table of words and `formats` that of time formats by which columns are recognized; everything else is in
their values. Nothing here is specific to a hospital, a country or a data set.
"""
