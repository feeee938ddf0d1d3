"""Arithmetic on tables; it knows of no study."""
