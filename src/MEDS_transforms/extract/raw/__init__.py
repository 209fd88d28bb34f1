"""Raw tables: how their files are read, whatever their format, in bounded memory and with each row accounted for."""
