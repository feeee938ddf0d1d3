"""Sections of the report that only present tables."""
