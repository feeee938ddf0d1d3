"""From flags to a study that may run: everything is checked before the first file is written."""
