"""Presentation of findings: pages, figures and text."""
