"""Set up or resume a study: everything is checked before the first file is written."""
