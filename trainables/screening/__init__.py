"""Checks on a backbone before a sweep: each judges one thing that would spoil all its trials."""
