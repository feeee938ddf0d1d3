"""Estimates before a study runs: its cost, what is worth storing, and the resources of a trial."""
