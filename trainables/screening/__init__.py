"""Checks of a backbone before a sweep. Each gate looks for one fault that would spoil all of its trials."""
