"""Checks on a backbone before a sweep: every gate looks for one fault that would spoil all its trials."""
