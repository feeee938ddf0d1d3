"""The sections of the report, in which findings are shown."""
