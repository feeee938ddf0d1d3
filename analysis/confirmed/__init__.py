"""Answers from the confirmed models on the test fold, with intervals."""
